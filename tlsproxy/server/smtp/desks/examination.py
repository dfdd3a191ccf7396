"""What is found out about a client while it goes on talking: reverse DNS, its name, SPF; ends with the client."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tlsproxy.protocols.smtp.syntax import MailFrom
from tlsproxy.senders.identity import HelloResult, IpAddress, Iprev
from tlsproxy.senders.judgement import Judgement, judge
from tlsproxy.senders.local import Skip
from tlsproxy.senders.spf import SpfResult
from tlsproxy.senders.wording import Facts
from tlsproxy.server.smtp.desks.questions import Checks, ask_hello, ask_names, ask_spf

_T = TypeVar("_T")


class Examination:
    """One client's checks; each runs in a task that is cancelled when the client leaves."""

    def __init__(self, checks: Checks, ip: IpAddress, own: IpAddress, ref: str) -> None:
        """Nothing is asked yet.

        Args:
            checks: What is checked.
            ip: The client's address.
            own: The address that it connected to.
            ref: The session's id.
        """
        self._checks = checks
        self._ip = ip
        self._own = own
        self._ref = ref
        self.skip: Skip | None = checks.clients.skip(ip)
        """Why nothing is checked; None if it is."""
        self._hello = b""
        self._sender = b""
        self._domain = b""
        self._iprev: asyncio.Task[Iprev] | None = None
        self._hello_check: asyncio.Task[HelloResult] | None = None
        self._spf: asyncio.Task[SpfResult] | None = None
        self._spf_hello: asyncio.Task[SpfResult] | None = None

    @property
    def iprev(self) -> Iprev | None:
        """What reverse DNS says, if it is known by now."""
        is_known = self._iprev is not None and self._iprev.done() and not self._iprev.cancelled()
        return self._iprev.result() if is_known and self._iprev is not None else None

    @property
    def hello_result(self) -> HelloResult | None:
        """What the client's name says, if it is known by now."""
        return self._hello_check.result() if self._hello_check is not None and self._hello_check.done() else None

    @property
    def spf(self) -> SpfResult | None:
        """What SPF says of the sender, if it is known by now."""
        return self._spf.result() if self._spf is not None and self._spf.done() else None

    def arrive(self) -> None:
        """The client is here: its names can be asked for."""
        if self.skip is None and self._needs_names:
            self._iprev = _begin(ask_names(self._checks, self._ip))

    def hear(self, hello: bytes) -> None:
        """The client gave its name; the same name again changes nothing."""
        if hello == self._hello:
            return
        self._hello = hello
        _cancel(self._hello_check)
        self._hello_check = None
        if self._iprev is not None and self._checks.settings.needs_identity:
            is_relaxed = self._checks.settings.is_relaxed
            question = ask_hello(self._checks, self._ip, hello, self._iprev, self._own, is_relaxed=is_relaxed)
            self._hello_check = _begin(question)

    def open(self, mail: MailFrom) -> None:
        """A transaction begins."""
        self._sender, self._domain = mail.path.address, mail.path.domain
        self._forget_sender()
        if self.skip is not None:
            return
        settings = self._checks.settings
        if settings.needs_spf:
            self._spf = self._ask_spf(self._domain or self._hello, self._sender)
        if settings.needs_spf_hello and self._domain:
            self._spf_hello = self._ask_spf(self._hello, b"postmaster@" + self._hello)

    async def judgement(self) -> Judgement | None:
        """What follows from all of it, once it is known; None if nothing is checked."""
        if self.skip is not None:
            return None
        return judge(
            await _result(self._iprev),
            await _result(self._hello_check),
            await _result(self._spf),
            await _result(self._spf_hello),
            settings=self._checks.settings,
            facts=Facts(ip=self._ip, hello=self._hello, domain=self._domain, ref=self._ref),
        )

    def close(self) -> None:
        """Ask nothing more."""
        for task in (self._iprev, self._hello_check):
            _cancel(task)
        self._forget_sender()

    def _ask_spf(self, domain: bytes, sender: bytes) -> asyncio.Task[SpfResult]:
        return _begin(ask_spf(self._checks, self._ip, self._hello, domain=domain, sender=sender, names=self._iprev))

    def _forget_sender(self) -> None:
        for task in (self._spf, self._spf_hello):
            _cancel(task)
        self._spf = self._spf_hello = None

    @property
    def _needs_names(self) -> bool:
        return self._checks.settings.needs_identity or bool(self._checks.clients.forwarder_names)


def _begin(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    return asyncio.get_running_loop().create_task(work)


def _cancel(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()


async def _result(task: asyncio.Task[_T] | None) -> _T | None:
    """A task's result; whoever waits for it may be cancelled, and the task goes on."""
    if task is None:
        return None
    await asyncio.wait({task})
    return task.result()
