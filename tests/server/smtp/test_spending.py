"""What a client is told that sends too much, and what is written down of it."""

from typing import Any, Final

from rig.recorder import Recorder

from tlsproxy.admission.base import Ticket
from tlsproxy.core.addresses import peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import SmtpRole
from tlsproxy.protocols.smtp import SMTP
from tlsproxy.protocols.smtp.syntax import Path, RcptTo
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.smtp.budget import NO_BUDGET, MailBudget
from tlsproxy.server.smtp.notes import Notes
from tlsproxy.server.smtp.spending import Spending

TICKET: Final = Ticket(
    id=7, peer=peer_from("2001:db8::7", 5), listener="smtp", owner=0, is_exempt=False, is_stressed=False
)
RCPT: Final = RcptTo(path=Path(local=b"ann", domain=b"example.org"))
TOLD: Final = b"450 4.7.28 too much mail from 2001:db8::7, try again later (id 7F3A9C)\r\n"


class _Served:
    listener = "smtp"
    protocol = SMTP

    class way:  # noqa: N801 - a stand-in
        name = "smtp"


class _Budget:
    """Takes down what is spent, and has a limit or none."""

    def __init__(self, limit: str | None) -> None:
        self.limit = limit
        self.spent: list[tuple[int, int, int]] = []

    async def spend(self, ticket: Ticket, messages: int, recipients: int) -> str | None:
        self.spent.append((ticket.id, messages, recipients))
        return self.limit


def spending(budget: MailBudget, log: Recorder) -> tuple[Spending, Notes]:
    served: Any = _Served
    notes = Notes(log, Chronicle(log, served, TICKET.peer, lambda: 0.0, "7F3A9C"), SmtpRole.MX)
    return Spending(budget, TICKET, notes, ref="7F3A9C"), notes


async def test_one_message_and_one_recipient_at_a_time() -> None:
    budget, log = _Budget(None), Recorder()
    one, notes = spending(budget, log)
    assert await one.message() is None
    assert await one.recipient(RCPT) is None
    assert budget.spent == [(7, 1, 0), (7, 0, 1)]
    assert log.lines(Event.MESSAGE_REFUSED) == []
    assert notes.fields()["refused"] == 0


async def test_too_much() -> None:
    log = Recorder()
    one, notes = spending(_Budget("60 per 60 s"), log)
    for answer in (await one.message(), await one.recipient(RCPT)):
        assert answer is not None
        assert answer.encode() == TOLD
    lines = log.lines(Event.MESSAGE_REFUSED)
    assert [(line["reason"], line["recipient"]) for line in lines] == [
        ("message_rate", None),
        ("recipient_rate", "ann@example.org"),
    ]
    assert {(line["by"], line["limit"], line["level"]) for line in lines} == {("proxy", "60 per 60 s", "info")}
    assert notes.fields()["refused"] == 2


async def test_where_nothing_is_counted() -> None:
    one, _ = spending(NO_BUDGET, Recorder())
    assert await one.message() is None
    assert await one.recipient(RCPT) is None
