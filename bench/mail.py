"""SMTP: how many messages, and how much of them, a second of CPU carries, beside nginx's SMTP proxy and Postfix.

Postfix hands each message on at once (``smtpd_proxy_filter``), without a queue, as the others do.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.answers import CLIENT
from bench.peers import PEERS, Peer, Running, Variant, running
from bench.processes import BenchError, Load, pinned
from bench.rig import NATIVE, Rig, free_port
from bench.runs import SOURCES, Say
from bench.spending import check_tls, spent
from tlsproxy.senders.passwords.book import password_line

_SOURCE: Final = Path(__file__).parent.parent
_KIB: Final = 1024
_MIB: Final = 1024**2
_DIGITS: Final = 3  # what is beyond is noise
_MANY: Final = 16
_FEW: Final = 4
_WARM_UP: Final = ("mx_one", "submission")
_WARM_UP_SHARE: Final = 0.25

PEERS_OF_MAIL: Final = (
    *(
        replace(peer, template="nginx-smtp.conf.in", is_quick=True)
        for peer in PEERS
        if peer.name == "nginx mail"  # the same program, with the same helper
    ),
    Peer(
        name="Postfix",
        program=str(Path(__file__).parent / "postfix"),
        version_flag="--version",
        template="postfix.conf.in",
        command=("{config}",),
        is_quick=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of mail, a line of the table; more is better in all.

    Attributes:
        key: Its name in the results.
        title: What a person reads.
        sessions: In one round.
        messages: In each session.
        size: Of a message, in bytes.
        secrecy: "plain", "starttls" or "tls"; with TLS from the first byte, a user logs in and sends.
        is_bulk: Counted are MiB, not messages.
        is_checked: Senders come from an address that is looked up, which only ours does with all checks.
    """

    key: str
    title: str
    sessions: int = 400
    messages: int = 1
    size: int = 2 * _KIB
    secrecy: str = "plain"
    is_bulk: bool = False
    is_checked: bool = False

    @property
    def unit(self) -> str:
        """What is counted."""
        return "MiB" if self.is_bulk else "messages"


KINDS: Final = (
    Kind(key="mx_one", title="MX, one message of 2 KiB a connection"),
    Kind(key="mx_checked", title="the same, the sender's DNS and SPF checked", is_checked=True),
    Kind(key="mx_ten", title="MX, ten of them a connection", sessions=60, messages=10),
    Kind(key="mx_starttls", title="MX with STARTTLS, one of them", secrecy="starttls"),
    Kind(key="submission", title="submission on 465 with AUTH, one of them", secrecy="tls"),
    Kind(key="mx_middle", title="MX, one of 100 KiB", sessions=200, size=100 * _KIB, is_bulk=True),
    Kind(key="mx_large", title="MX, one of 10 MiB", sessions=12, size=10 * _MIB, is_bulk=True),
    Kind(
        key="submission_large",
        title="submission, one of 10 MiB",
        sessions=12,
        size=10 * _MIB,
        secrecy="tls",
        is_bulk=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        repeats: Rounds.
        share: Of the sessions of each kind.
        left_out: Kinds by key.
    """

    repeats: int
    share: float = 1
    left_out: tuple[str, ...] = ()


FULL: Final = Size(repeats=7)
QUICK: Final = Size(repeats=2, share=0.2, left_out=("mx_starttls", "mx_middle", "submission_large"))
TINY: Final = Size(repeats=1, share=0.02)


@dataclass(slots=True, kw_only=True)
class Result:
    """What was found, to be written down and added to.

    Attributes:
        peers: The columns.
        samples: Messages or MiB a second of CPU, by kind and peer.
        notes: Why there are none.
    """

    say: Say
    peers: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def failures_of(self, peer: Peer) -> Iterator[None]:
        """Write down why a peer has no figure, and go on."""
        try:
            yield
        except BenchError as error:
            note = f"{peer.name}, SMTP: {error}"
            self.say(note)
            if note not in self.notes:
                self.notes.append(note)

    def add(self, kind: Kind, peer: Peer, value: float) -> None:
        """One more value."""
        self.samples.setdefault(kind.key, {}).setdefault(peer.name, []).append(round(value, _DIGITS))


def mail(rig: Rig, peers: Sequence[Peer], size: Size, result: Result) -> None:
    """Measure each kind with each peer, the peers taking turns.

    Args:
        rig: Where.
        peers: Who, ours among them; those of others have a configuration for SMTP.
        size: How much.
        result: What is added to.

    Raises:
        BenchError: The receiver of the mail does not start.
    """
    result.peers = list(dict.fromkeys([*result.peers, *(peer.name for peer in peers)]))
    with place_of_mail(rig) as place, _public_address() as has_address, ExitStack() as stack:
        proxies = list(_started(stack, place, peers, result))
        for number in range(size.repeats):
            result.say(f"mail: round {number + 1} of {size.repeats}")
            first = number % max(1, len(proxies))
            turn = proxies[first:] + proxies[:first]
            for kind in (each for each in KINDS if each.key not in size.left_out):
                for proxy in turn:
                    if not kind.is_checked or (has_address and proxy.peer.is_ours):
                        with result.failures_of(proxy.peer):
                            result.add(kind, proxy.peer, measure(place, proxy, kind, size.share))


def measure(place: Rig, proxy: Running, kind: Kind, share: float = 1) -> float:
    """Messages or MiB a second of the proxy's CPU, for one kind, once.

    Raises:
        BenchError: A message was lost or changed, or TLS was not what all others spoke.
    """
    sessions = max(1, round(kind.sessions * share))
    with senders(place, proxy, kind, 1) as first:  # so that its password and its address are known
        first.go()
    used, result = spent(proxy, senders(place, proxy, kind, sessions))
    if result["messages"] != sessions * kind.messages:
        raise BenchError(f"{result['messages']} messages instead of {sessions * kind.messages}")
    if kind.secrecy != "plain":
        check_tls(result)
    return (float(result["bytes"]) / _MIB if kind.is_bulk else float(result["messages"])) / used


def senders(place: Rig, proxy: Running, kind: Kind, sessions: int) -> Load:
    """The load generator for mail; its options are in bench/native/smtpload.c."""
    is_user = kind.secrecy == "tls"
    words = ["--target", proxy.submission if is_user else proxy.target, *(["--auth"] if is_user else [])]
    words += ["--secrecy", kind.secrecy, "--count", str(sessions), "--messages", str(kind.messages)]
    words += ["--bytes", str(kind.size), "--concurrency", str(_FEW if kind.size > _MIB else _MANY)]
    words += ["--source", CLIENT] if kind.is_checked else SOURCES
    return Load(NATIVE / "smtpload", words, place.cores.load)


@contextmanager
def place_of_mail(rig: Rig) -> Iterator[Rig]:
    """The same place with a receiver of mail as the backend, and with what SMTP needs besides.

    Raises:
        BenchError: Something does not start.
    """
    sink, names, logins = (free_port() for _ in range(3))
    users = rig.new_folder() / "users"
    users.touch(mode=0o600)
    users.write_bytes(password_line(b"bench@example.org", b"secret") + b"\n")
    answers = [sys.executable, "-m", "bench.answers", str(names), str(logins)]
    with (
        _beside(rig, [str(NATIVE / "smtpsink"), f"127.0.0.1:{sink}"]),
        _beside(rig, answers),
    ):
        more = {"names": f"127.0.0.1:{names}", "logins": f"127.0.0.1:{logins}", "users": str(users)}
        yield replace(rig, backend=f"127.0.0.1:{sink}", more=more)


@contextmanager
def _beside(rig: Rig, command: Sequence[str]) -> Iterator[None]:
    """A program of ours that runs beside the load until we are done."""
    process = subprocess.Popen(
        pinned(command, rig.cores.load),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_SOURCE)},
    )
    try:
        if process.stdout is None or process.stdout.readline() != b"listening\n":
            raise BenchError(f"{command[0]} does not start")
        yield
    finally:
        process.communicate()


def _started(stack: ExitStack, place: Rig, peers: Sequence[Peer], result: Result) -> Iterator[Running]:
    for peer in peers:
        with result.failures_of(peer):
            proxy = stack.enter_context(running(place, as_mail(peer), Variant()))
            for kind in KINDS:
                if kind.key in _WARM_UP:
                    measure(place, proxy, kind, _WARM_UP_SHARE)
            yield proxy


def as_mail(peer: Peer) -> Peer:
    """A column as it is set up for mail."""
    return replace(peer, template="tlsproxy-smtp.toml.in") if peer.is_ours else peer


@contextmanager
def _public_address() -> Iterator[bool]:
    """An address on the loopback for senders that are looked up; whether there is one, for which one must be root."""
    if os.geteuid() != 0:
        yield False
        return
    words = ["address", f"{CLIENT}/32", "dev", "lo"]
    is_ours = _ip("add", *words)
    try:
        yield is_ours or _ip("replace", *words)  # there already, from somebody else
    finally:
        if is_ours:
            _ip("delete", *words)


def _ip(verb: str, kind: str, *words: str) -> bool:
    command = ["ip", kind, verb, *words]
    return shutil.which("ip") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
