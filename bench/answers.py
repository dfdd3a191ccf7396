"""What the proxies under test ask others for mail: names of the DNS, and passwords for Postfix.

Run as a program, it answers at once and runs beside the load: ``python -m bench.answers NAMES_PORT LOGINS_PORT``,
until its standard input is closed.
"""

import socketserver
import sys
from threading import Thread
from typing import Final

import dns.message
import dns.rcode
import dns.rrset

CLIENT: Final = "192.0.2.240"
"""From where senders come that are looked up: an address for documentation (RFC 5737), added to the loopback."""
_HOST: Final = "127.0.0.1"
_TTL_S: Final = 300
_ZONE: Final = {
    ("240.2.0.192.in-addr.arpa.", "PTR"): "client.bench.example.",
    ("client.bench.example.", "A"): CLIENT,
    ("client.bench.example.", "TXT"): '"v=spf1 a -all"',
    ("bench.example.", "TXT"): '"v=spf1 include:_spf.bench.example -all"',
    ("_spf.bench.example.", "TXT"): '"v=spf1 ip4:192.0.2.0/25 ip4:192.0.2.128/25 -all"',
}
_GREETING: Final = (
    b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n"
)


def answered(question: bytes) -> bytes:
    """What a name server says to a datagram: what the zone holds, and that there is nothing else.

    Raises:
        dns.exception.DNSException: It is no question.
    """
    message = dns.message.from_wire(question)
    answer = dns.message.make_response(message)
    asked = message.question[0]
    kind = dns.rdatatype.to_text(asked.rdtype)
    found = _ZONE.get((asked.name.to_text().lower(), kind))
    if found is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    else:
        answer.answer.append(dns.rrset.from_text(asked.name, _TTL_S, "IN", kind, found))
    return answer.to_wire()


def judged(line: bytes) -> bytes:
    """What Dovecot's server of passwords says to a line: everybody may log in (its protocol 1.2)."""
    words = line.rstrip(b"\n").split(b"\t")
    if words[0] != b"AUTH":
        return b""
    return b"OK\t%s\tuser=bench@example.org\n" % words[1]


class _Names(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        question, sock = self.request
        sock.sendto(answered(question), self.client_address)


class _Logins(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(_GREETING)
        for line in self.rfile:
            self.wfile.write(judged(line))


class _LoginServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def main(names_port: int, logins_port: int) -> None:
    """Serve until the standard input is closed."""
    servers = (
        socketserver.UDPServer((_HOST, names_port), _Names),
        _LoginServer((_HOST, logins_port), _Logins),
    )
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)  # noqa: T201 - told to who has started us
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
