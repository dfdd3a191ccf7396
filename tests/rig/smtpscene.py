"""A proxy for SMTP in front of a scripted old server, name servers and judges of passwords that are made up."""

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from rig.peers import WITHIN_S, Peer
from rig.pki import Pki
from rig.proxy import RunningProxy
from rig.recorder import Line, Recorder
from rig.scriptedsmtp import OldSmtp
from rig.zones import Zones
from tlsproxy.config.model import Config
from tlsproxy.senders.names import Lookup
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.smtp.delivering.knowledge import Knowledge
from tlsproxy.server.smtp.service import SmtpTools
from tlsproxy.server.way.way import Way

HOST: Final = "mx.test.example"
STRANGER: Final = "127.0.0.7"
"""A client from here is one from the Internet to the proxy."""
STRANGERS: Final = {STRANGER: "192.0.2.7"}
PASSWORD: Final = b"s3cret-w\xc3\xb6rd"


def smtp_config(pki: Pki, address: str, **sections: Mapping[str, Any]) -> Config:
    """Listeners ``mx``, ``submission`` and ``submissions`` on free ports; sections are laid over what they need."""
    given = {name: dict(table) for name, table in sections.items()}
    mx = {"local_domains": ["example.org"], **given.pop("mx", {})}
    submission = {"auth": "imap", **given.pop("submission", {})}
    smtp = {"hostname": HOST, **given.pop("smtp", {}), "mx": mx, "submission": submission}
    users = {"address": address, **given.pop("backend", {})}
    strangers = {key: value for key, value in users.items() if key != "login"}
    seconds = {"backend_hold": 0.0, "backend_retry": 0.05, **given.pop("timeouts", {})}
    timeouts = {key: f"{round(length * 1000)}ms" for key, length in seconds.items()}
    tables: dict[str, Any] = {
        "tls": {"certificates": [{"chain": str(pki.chain), "key": str(pki.key)}]},
        "listener": [
            {"name": name, "protocol": "smtp", "role": role, "tls": tls, "bind": ["127.0.0.1:0"], "backend": backend}
            for name, role, tls, backend in (
                ("mx", "mx", "starttls", "strangers"),
                ("submission", "submission", "starttls", "users"),
                ("submissions", "submission", "implicit", "users"),
            )
        ],
        "smtp": smtp,
        "timeouts": timeouts,
        "backend": {"strangers": strangers, "users": users, "imap": {"address": address}},
        **given,
    }
    return Config.model_validate(tables)


class Judge:
    """Judges passwords by what a test has said of them."""

    def __init__(self) -> None:
        self.verdicts: dict[bytes, Verdict] = {PASSWORD: Verdict.OK}
        self.silent: set[bytes] = set()
        """Passwords of which it never says anything."""
        self.asked = threading.Semaphore(0)
        self.given_up = 0
        """How often nobody wanted to know any more."""

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:  # noqa: ARG002 - an interface
        self.asked.release()
        if password in self.silent:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        return self.verdicts.get(password, Verdict.WRONG)


class Client(Peer):
    """A client that is told what to say."""

    def answer(self) -> bytes:
        """A whole answer; what there is of it before the end."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"".join(lines)

    def say(self, line: bytes) -> bytes:
        """Say a line and wait for its answer."""
        self.send(line + b"\r\n")
        return self.answer()

    def greet(self, name: bytes = b"client.example") -> Self:
        """From the greeting to the answer to EHLO."""
        assert self.answer().startswith(b"220 ")
        assert self.say(b"EHLO " + name).startswith(b"250-")
        return self

    def start_tls(self, context: ssl.SSLContext) -> Self:
        assert self.say(b"STARTTLS").startswith(b"220 ")
        self.secure(context)
        assert self.say(b"EHLO client.example").startswith(b"250-")
        return self

    def log_in(self, user: bytes = b"anna", password: bytes = PASSWORD) -> bytes:
        return self.say(b"AUTH PLAIN " + plain(user, password))

    def open(self, *recipients: bytes, sender: bytes = b"joe@b.example") -> Self:
        """From MAIL to the go-ahead."""
        assert self.say(b"MAIL FROM:<%b>" % sender).startswith(b"250 ")
        for recipient in recipients or (b"anna@example.org",):
            assert self.say(b"RCPT TO:<%b>" % recipient).startswith(b"250 ")
        assert self.say(b"DATA").startswith(b"354 ")
        return self

    def deliver(self, content: bytes, *recipients: bytes) -> bytes:
        """A whole message; returns the answer to its end."""
        self.open(*recipients)
        return self.say(content + b"\r\n.")

    def leave(self) -> bytes:
        answer = self.say(b"QUIT")
        assert self.rest() == b""
        self.close()
        return answer


def plain(user: bytes, password: bytes) -> bytes:
    return base64.b64encode(b"\0" + user + b"\0" + password)


@dataclass(slots=True, kw_only=True)
class Scene:
    """All of it."""

    proxy: RunningProxy
    old: OldSmtp
    zones: Zones
    judge: Judge
    pki: Pki
    enter: Callable[[Any], Any]

    @property
    def log(self) -> Recorder:
        return self.proxy.log

    def call(self, listener: str = "mx", source: str | None = None, version: ssl.TLSVersion | None = None) -> Client:
        """Connect; on an implicit-TLS listener the handshake is made."""
        address, where = ("127.0.0.1", self.proxy.ports[listener]), (source, 0) if source else None
        client: Client = self.enter(Client(socket.create_connection(address, WITHIN_S, where)))
        if listener == "submissions":
            client.secure(self.pki.client_context(version))
        return client

    def user(self) -> Client:
        """A client that has logged in."""
        client = self.call("submissions").greet()
        assert client.log_in().startswith(b"235 ")
        return client

    def closed(self) -> Line:
        """The one ``session.closed``, with nothing left behind."""
        closed = self.log.closed()
        self.proxy.idle()
        return closed


def tools_of(config: Config, lookup: Lookup, judge: Judge) -> Callable[[Mapping[str, Way]], SmtpTools]:
    """What sessions work with."""

    def make(ways: Mapping[str, Way]) -> SmtpTools:
        knowledge = {
            name: Knowledge(ways[name], HOST.encode(), config.backend[name].identity) for name in ("strangers", "users")
        }
        is_judged_here = config.smtp is not None and config.smtp.submission.auth != "replay"  # type: ignore[union-attr]
        return SmtpTools(lookup=lookup, judge=judge if is_judged_here else None, knowledge=knowledge)

    return make
