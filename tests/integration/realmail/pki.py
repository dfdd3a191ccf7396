"""Certificates of one run: an authority of our own and one server certificate; nothing of it outlives the run."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pki:
    """Files for the proxy and for clients."""

    ca: Path
    chain: Path
    key: Path

    def client_context(self) -> ssl.SSLContext:
        """What a careful mail client uses: it checks the certificate and its name."""
        return ssl.create_default_context(cafile=str(self.ca))


def make_pki(folder: Path) -> Pki:
    """Make an authority and a certificate for localhost."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", common_name="localhost")
    pki = Pki(folder / "ca.pem", folder / "chain.pem", folder / "server.key")
    authority.cert_pem.write_to_path(pki.ca)
    pki.key.touch(0o600)
    certificate.private_key_pem.write_to_path(pki.key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(pki.chain, append=True)
    return pki
