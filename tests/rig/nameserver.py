"""A scripted name server on loopback, in a thread of its own beside whatever is tested."""

import heapq
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import count
from typing import Any, Final, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from rig.zones import Zones
from tlsproxy.senders.names import MailExchange, Record, RecordType

_CHAIN_LIMIT: Final = 8
_PLAIN_UDP_BYTES: Final = 512
_STRING_BYTES: Final = 255


class NameServer(AbstractContextManager["NameServer"]):
    """Answers from ``zones`` over UDP and TCP on one port; everything may be changed while it runs.

    ``with NameServer(zones) as server: ... server.address``. What ``zones`` tells of lateness and silence is obeyed.
    """

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self.ttl_s = 300
        self.negative_ttl_s: int | None = 300
        """None leaves the SOA out."""
        self.rcodes: dict[str, dns.rcode.Rcode] = {}
        """Names that are answered with an error."""
        self.garbled: set[str] = set()
        """Names that are answered with bytes that are no message."""
        self.truncated: set[str] = set()
        """Names whose answers over UDP are always truncated."""
        self.forged: set[str] = set()
        """Names whose answers over UDP come behind forged ones."""
        self.hung_up: set[str] = set()
        """Names whose questions over TCP end the connection."""
        self.asked: list[tuple[str, str, str]] = []
        """(``udp`` or ``tcp``, name, type), in order."""
        self.address = self._bind()
        self._waker, self._woken = socket.socketpair()
        self._late: list[tuple[float, int, Any]] = []
        self._numbers = count()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waker.close()
        self._thread.join()

    def times_asked(self) -> Counter[tuple[str, str]]:
        return Counter((name, record_type) for _, name, record_type in self.asked)

    def _bind(self) -> tuple[str, int]:
        while True:
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._udp.bind(("127.0.0.1", 0))
            address: tuple[str, int] = self._udp.getsockname()
            try:
                self._tcp = socket.create_server(address)
            except OSError:  # somebody has that port for TCP
                self._udp.close()
                continue
            return address

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._udp, selectors.EVENT_READ, self._take_datagram)
            selector.register(self._tcp, selectors.EVENT_READ, lambda: self._accept(selector))
            selector.register(self._woken, selectors.EVENT_READ, self._stop)
            while not self._is_over:
                self._serve(selector)
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr] # all of them are sockets

    def _serve(self, selector: selectors.BaseSelector) -> None:
        wait = max(self._late[0][0] - time.monotonic(), 0) if self._late else None
        for key, _ in selector.select(wait):
            key.data()
        while self._late and self._late[0][0] <= time.monotonic():
            with suppress(OSError):  # whoever asked may be gone
                heapq.heappop(self._late)[2]()

    def _stop(self) -> None:
        self._is_over = True

    def _take_datagram(self) -> None:
        wire, peer = self._udp.recvfrom(65536)
        answer = self._answer("udp", wire)
        if answer is not None:
            for sent in [*self._forgeries(wire), answer]:
                self._later(partial(self._udp.sendto, sent, peer))

    def _forgeries(self, wire: bytes) -> list[bytes]:
        query = dns.message.from_wire(wire)
        if _text(query) not in self.forged:
            return []
        others = [dns.message.make_query("forged.example", "A", id=query.id), dns.message.make_query("a.example", "A")]
        return [b"", wire, *(dns.message.make_response(other).to_wire() for other in others)]

    def _accept(self, selector: selectors.BaseSelector) -> None:
        peer, _ = self._tcp.accept()
        heard = bytearray()

        def take() -> None:
            data = b""
            with suppress(OSError):
                data = peer.recv(65536)
            heard.extend(data)
            if not data or any(name.split(".")[0].encode() in data for name in self.hung_up):
                selector.unregister(peer)
                peer.close()
                return
            while len(heard) >= 2 and len(heard) >= 2 + (size := struct.unpack_from("!H", heard)[0]):
                answer = self._answer("tcp", bytes(heard[2 : 2 + size]))
                del heard[: 2 + size]
                if answer is not None:
                    self._later(partial(peer.sendall, struct.pack("!H", len(answer)) + answer))

        selector.register(peer, selectors.EVENT_READ, take)

    def _later(self, send: Any) -> None:
        heapq.heappush(self._late, (time.monotonic() + self.zones.delay_s, next(self._numbers), send))

    def _answer(self, transport: str, wire: bytes) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = _text(query)
        record_type = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((transport, name, record_type))
        if name in self.garbled:
            return wire[:2] + b"\x81\x80garbled"
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.rcodes:
            response.set_rcode(self.rcodes[name])
        elif not self._fill(response, name, RecordType(record_type)):
            return None
        full = response.to_wire(max_size=65535)
        room = 65535 if transport == "tcp" else max(query.payload, _PLAIN_UDP_BYTES)
        if len(full) <= room and not (transport == "udp" and name in self.truncated):
            return full
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC | dns.flags.RA
        return short.to_wire()

    def _fill(self, response: dns.message.Message, name: str, record_type: RecordType) -> bool:
        """Whether there is an answer at all."""
        for _ in range(_CHAIN_LIMIT):
            if name not in self.zones.aliases:
                break
            target = self.zones.aliases[name].lower()
            response.answer.append(_rrset(name, self.ttl_s, "CNAME", [f"{target}."]))
            name = target
        else:
            response.answer.clear()
            response.set_rcode(dns.rcode.SERVFAIL)
            return True
        records = self.zones.told(name, record_type)
        if records is None:
            return False
        if records:
            response.answer.append(_rrset(name, self.ttl_s, record_type, [_rdata(record) for record in records]))
            return True
        if self.negative_ttl_s is not None:
            soa = f". . 1 1 1 1 {self.negative_ttl_s}"
            response.authority.append(_rrset("", self.negative_ttl_s, "SOA", [soa]))
        if not self.zones.has(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return True


def _text(query: dns.message.Message) -> str:
    return ".".join(label.decode("latin-1") for label in query.question[0].name.labels[:-1]).lower()


def _rrset(name: str, ttl_s: int, record_type: str, texts: list[str]) -> dns.rrset.RRset:
    owner = dns.name.Name([*(label.encode("latin-1") for label in name.split(".") if label), b""])
    return dns.rrset.from_text_list(owner, ttl_s, dns.rdataclass.IN, record_type, texts)


def _rdata(record: Record) -> str:
    """As in a master file (RFC 1035 §5.1), so a test may put ``\\046`` into a name for a dot inside a label."""
    match record:
        case MailExchange():
            return f"{record.preference} {record.name}."
        case bytes():
            strings = [record[i : i + _STRING_BYTES] for i in range(0, len(record), _STRING_BYTES)] or [b""]
            return " ".join('"' + "".join(f"\\{byte:03}" for byte in string) + '"' for string in strings)
        case str():
            return f"{record}."
        case _:
            return str(record)
