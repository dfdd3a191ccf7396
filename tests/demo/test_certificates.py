import ipaddress
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from tlsproxy.demo.certificates import make_certificates


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_trusts_the_authority_accepts_every_name(
    tmp_path: Path, name: str, version: ssl.TLSVersion
) -> None:
    files = make_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    client = ssl.create_default_context(cafile=files.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.minimum_version = client.maximum_version = version
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with server.wrap_socket(theirs, server_side=True) as tls:
            tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(ours, server_hostname=name) as tls:
        assert tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        tls.sendall(b"x")
    thread.join()


def test_the_key_is_private_and_the_certificate_short_lived(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "server.key", "server.pem"]
    certificate = x509.load_pem_x509_certificate(files.chain.read_bytes())
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() <= 31 * 86400
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with pytest.raises(FileExistsError):
        make_certificates(tmp_path)
