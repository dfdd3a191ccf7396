"""TLS contexts: one a certificate and profile for clients, one a backend; must not do a handshake.

Profiles are Mozilla's "Server Side TLS" 5.7. Curves are left to OpenSSL: Python's ssl can set only one, and its
default list starts with X25519 (X25519MLKEM768 from OpenSSL 3.5 on).
"""

import ssl
from collections.abc import Sequence
from typing import Final

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.kinds import TlsProfile
from tlsproxy.core.outcome import Reason
from tlsproxy.net.tls.certs import Certificate, pick
from tlsproxy.net.tls.client_hello import ClientHello
from tlsproxy.net.tls.handshake import HandshakeError
from tlsproxy.net.tls.memory import memory_file

_INTERMEDIATE_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
# SECLEVEL=0: OpenSSL 3 refuses the SHA-1 signatures of TLS 1.0 and 1.1 otherwise (SSL_CTX_set_security_level(3)).
_OLD_CIPHERS: Final = (
    _INTERMEDIATE_CIPHERS + ":ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:"
    "ECDHE-RSA-AES256-SHA:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)
_MINIMUM: Final = {
    TlsProfile.MODERN: ssl.TLSVersion.TLSv1_3,
    TlsProfile.INTERMEDIATE: ssl.TLSVersion.TLSv1_2,
    # TLS 1.0 in fact: SSL 3 is off in every context of Python's (PROTOCOL_TLS_SERVER, PROTOCOL_TLS_CLIENT).
    TlsProfile.OLD: ssl.TLSVersion.MINIMUM_SUPPORTED,
}
# SSL_OP_LEGACY_SERVER_CONNECT; Python names it from 3.12 on. Old servers know no secure renegotiation (RFC 5746).
_LEGACY_SERVER_CONNECT: Final = 0x4


class ServerTls:
    """The contexts of one profile, one a certificate, picked by the client's server name."""

    def __init__(self, certificates: Sequence[Certificate], profile: TlsProfile, alpn: str | None) -> None:
        """Build every context.

        Args:
            certificates: The first is shown where no name decides.
            profile: Versions and ciphers.
            alpn: The protocol's name in ALPN; None where it has none, as SMTP: whatever a client offers is then
                passed over.

        Raises:
            CertificateError: OpenSSL does not take a pair.
        """
        self._certificates = tuple(certificates)
        self._alpn = alpn.encode("ascii") if alpn is not None else None
        self.likeness = (self._certificates, profile, alpn)
        """What makes two of these the same."""
        self._contexts = tuple(_server_context(c, profile, alpn) for c in self._certificates)

    def context_for(self, hello: ClientHello | None) -> ssl.SSLContext:
        """The context for what the client said, or for an unknown hello the default one.

        Raises:
            HandshakeError: The client offers protocols and ours is not among them (RFC 7301 §3.2).
        """
        if hello is None:
            return self._contexts[0]
        if hello.alpn and self._alpn is not None and self._alpn not in hello.alpn:
            offered = ", ".join(name[:20].decode("ascii", "backslashreplace") for name in hello.alpn[:4])
            raise HandshakeError(Reason.ALPN_MISMATCH, f"client offers {offered}")
        return self._contexts[pick(self._certificates, hello.server_name)]


def backend_context(config: BackendConfig, authorities: bytes | None = None) -> ssl.SSLContext:
    """The client's context for a backend.

    Args:
        config: How the backend is reached.
        authorities: What stands in the CA file, for a process that may not read it; without it the file is read.

    Raises:
        OSError: The CA file cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca is not None:
        with memory_file("authorities", authorities or config.ca.read_bytes()) as path:
            context.load_verify_locations(cafile=path)
    else:
        context.load_default_certs()
    if config.legacy_tls:
        context.minimum_version = _MINIMUM[TlsProfile.OLD]
        context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
        context.options |= _LEGACY_SERVER_CONNECT
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _server_context(certificate: Certificate, profile: TlsProfile, alpn: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if profile is TlsProfile.OLD:
        context.set_ciphers(_OLD_CIPHERS)
    elif profile is TlsProfile.INTERMEDIATE:
        context.set_ciphers(_INTERMEDIATE_CIPHERS)
    context.minimum_version = _MINIMUM[profile]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Mail clients close without close_notify. OpenSSL would break the connection off with an alert, and a client that
    # said QUIT and closed its side would lose the answer; what a mail command lacks at its end shows by itself.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    context.num_tickets = 1  # two cost 24 µs more a handshake, and no client of mail resumes in parallel
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    certificate.load_into(context)
    return context
