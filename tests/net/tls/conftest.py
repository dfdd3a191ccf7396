"""A server's context of ours, and clients in threads."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from rig.peers import Peer
from rig.pki import Pki
from rig.planes import tcp_pair

from tlsproxy.config.model import CertificateFiles
from tlsproxy.core.kinds import TlsProfile
from tlsproxy.net.plane import Nap, Plane, Waiter
from tlsproxy.net.tls.certs import Certificate, load_certificate
from tlsproxy.net.tls.contexts import ServerTls
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.net.tls.handshake import accept_tls


@pytest.fixture(scope="session")
def certificate(rig_pki: Pki) -> Certificate:
    return load_certificate(CertificateFiles(chain=rig_pki.chain, key=rig_pki.key))


@pytest.fixture(scope="session")
def server_context(certificate: Certificate) -> ssl.SSLContext:
    return ServerTls([certificate], TlsProfile.INTERMEDIATE, "imap").context_for(None)


@pytest.fixture
def shake_hands(closing: Any, rig_pki: Pki, server_context: ssl.SSLContext) -> Callable[..., Any]:
    """Our endpoint, and a client on a blocking socket, to be used in a thread."""

    async def connect(
        plane: Plane, version: ssl.TLSVersion, prepare: Any = None, context: Any = server_context
    ) -> tuple[TlsEndpoint, Peer]:
        ours, theirs = tcp_pair(closing)
        if prepare is not None:
            prepare(ours, theirs)
        client = closing(Peer(theirs))
        endpoint, _ = await asyncio.gather(
            accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, context),
            asyncio.to_thread(client.secure, rig_pki.client_context(version)),
        )
        closing(endpoint.sock)
        return endpoint, client

    return connect
