"""One question to one name server, over UDP or TCP; must not know who asks or why."""

import asyncio
import socket
import struct
from typing import Final

import dns.exception
import dns.message
import dns.nameserver

# Each costs the loop 20 µs to parse, and a policy may lead to a hundred answers; who has more is hostile or broken.
_MAX_RECORDS: Final = 256
# RFC 1035 §4.1.1: id, flags, and the numbers of questions and of three kinds of records.
_HEADER: Final = struct.Struct("!6H")
_LARGEST_BYTES: Final = 65535


class Server(dns.nameserver.Do53Nameserver):
    """A server for dnspython's resolver, which would parse any number of records."""

    async def async_query(  # noqa: PLR0917 - dnspython's signature
        self,
        request: dns.message.QueryMessage,
        timeout: float,  # noqa: ASYNC109
        source: str | None,
        source_port: int,
        max_size: bool,  # noqa: FBT001
        backend: object,
        one_rr_per_rrset: bool = False,  # noqa: FBT001, FBT002
        ignore_trailing: bool = False,  # noqa: FBT001, FBT002
    ) -> dns.message.Message:
        """Ask over a socket of its own, so from a port that nobody can guess; over TCP if ``max_size``."""
        del source, source_port, backend, one_rr_per_rrset, ignore_trailing
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        try:
            async with asyncio.timeout(timeout):
                with socket.socket(family, socket.SOCK_STREAM if max_size else socket.SOCK_DGRAM) as sock:
                    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
                    await asyncio.get_running_loop().sock_connect(sock, (self.address, self.port))
                    return await (_ask_tcp if max_size else _ask_udp)(sock, request)
        except TimeoutError as error:
            raise dns.exception.Timeout from error


async def _ask_udp(sock: socket.socket, request: dns.message.QueryMessage) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, request.to_wire())
    while True:
        wire = await loop.sock_recv(sock, _LARGEST_BYTES)
        try:
            response = _parse(wire, request)
        except dns.message.Truncated:
            raise
        except dns.exception.DNSException:  # somebody else may have sent it: the true answer may still come
            continue
        return response


async def _ask_tcp(sock: socket.socket, request: dns.message.QueryMessage) -> dns.message.Message:
    await asyncio.get_running_loop().sock_sendall(sock, request.to_wire(prepend_length=True))
    size = int.from_bytes(await _read(sock, 2))
    return _parse(await _read(sock, size), request)


async def _read(sock: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        data = await asyncio.get_running_loop().sock_recv(sock, size - len(heard))
        if not data:
            raise EOFError("the server has closed the connection")
        heard += data
    return heard


def _parse(wire: bytes, request: dns.message.QueryMessage) -> dns.message.Message:
    if len(wire) < _HEADER.size:
        raise dns.message.ShortHeader
    message_id, _, _, *counts = _HEADER.unpack_from(wire)
    if message_id != request.id or sum(counts) > _MAX_RECORDS:
        raise dns.exception.FormError
    response = dns.message.from_wire(wire, raise_on_truncation=True)
    if not request.is_response(response):
        raise dns.exception.FormError
    return response
