"""How a worker asks for mail to be counted: only if it is, and never so that an answer that fails stops mail."""

import asyncio
from typing import Final

import pytest
from rig.planes import until

from tlsproxy.admission.base import Ticket
from tlsproxy.config.model import Limits
from tlsproxy.core.addresses import peer_from
from tlsproxy.process.line import words
from tlsproxy.process.worker import sending_rates as room
from tlsproxy.process.worker.sending_rates import SendingRates

TICKET: Final = Ticket(
    id=7, peer=peer_from("192.0.2.1", 5), listener="smtp", owner=0, is_exempt=False, is_stressed=False
)


class Line:
    """All of a channel that is used here."""

    def __init__(self) -> None:
        self.has_room = True
        self.said: list[words.ToWorker | words.FromWorker] = []

    def send(self, message: bytes) -> None:
        self.said.append(words.decode(message))


def limits(**rates: str) -> Limits:
    return Limits.model_validate(rates)


@pytest.fixture
def line() -> Line:
    return Line()


def rates_of(line: Line, **rates: str) -> SendingRates:
    return SendingRates(line, limits(**rates))  # type: ignore[arg-type] # a fake


def ask(rates: SendingRates, messages: int = 1, recipients: int = 0) -> asyncio.Task[str | None]:
    return asyncio.get_running_loop().create_task(rates.spend(TICKET, messages, recipients))


async def test_by_default_nobody_is_asked(line: Line) -> None:
    rates = rates_of(line)
    assert await rates.spend(TICKET, 1, 100) is None
    assert line.said == []


@pytest.mark.parametrize(
    ("rate", "messages", "recipients", "is_asked"),
    [
        ("message_rate", 1, 0, True),
        ("message_rate", 0, 1, False),
        ("message_rate", 1, 1, True),
        ("recipient_rate", 1, 0, False),
        ("recipient_rate", 0, 1, True),
        ("recipient_rate", 0, 0, False),
    ],
)
async def test_only_what_is_limited_is_asked(
    line: Line,
    rate: str,
    messages: int,
    recipients: int,
    is_asked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    rates = rates_of(line, **{rate: "5/1m"})
    asking = ask(rates, messages, recipients)
    await asyncio.sleep(0)
    if is_asked:
        assert line.said == [words.Spend(question=1, ticket=7, messages=messages, recipients=recipients)]
        rates.answered(words.Spent(question=1, limit=""))
    assert await asking is None
    assert len(line.said) == is_asked
    assert rates._questions == {}


async def test_answers_find_who_asked(line: Line) -> None:
    rates = rates_of(line, message_rate="5/1m")
    first, second = ask(rates), ask(rates)
    await asyncio.sleep(0)
    rates.answered(words.Spent(question=2, limit="5 per 60 s"))
    rates.answered(words.Spent(question=2, limit=""))
    assert await second == "5 per 60 s"
    assert not first.done()
    rates.answered(words.Spent(question=1, limit=""))
    assert await first is None
    assert rates._questions == {}


async def test_no_answer_in_time_lets_it_pass(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_ANSWER_S", 0.01)
    rates = rates_of(line, message_rate="5/1m")
    assert await rates.spend(TICKET, 1, 0) is None
    rates.answered(words.Spent(question=1, limit="5 per 60 s"))
    assert len(line.said) == 1
    assert rates._questions == {}


async def test_session_that_ends_meanwhile(line: Line) -> None:
    rates = rates_of(line, message_rate="5/1m")
    asking = ask(rates)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert rates._questions == {}
    rates.answered(words.Spent(question=1, limit="5 per 60 s"))


async def test_supervisor_that_is_gone(line: Line) -> None:
    rates = rates_of(line, message_rate="5/1m", recipient_rate="5/1m")
    asking = [ask(rates), ask(rates, 0, 1), ask(rates)]
    await asyncio.sleep(0)
    rates.answered(words.Spent(question=3, limit="5 per 60 s"))
    rates.left_alone()
    assert [await each for each in asking] == [None, None, "5 per 60 s"]
    assert await rates.spend(TICKET, 1, 1) is None
    assert len(line.said) == 3, "nobody is asked any more"


async def test_questions_are_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_OPEN_QUESTIONS", 3)
    rates = rates_of(line, message_rate="5/1m")
    asking = [ask(rates) for _ in range(10)]
    await until(lambda: sum(each.done() for each in asking) == 7)
    assert len(line.said) == len(rates._questions) == 3
    rates.left_alone()
    assert [await each for each in asking] == [None] * 10


async def test_line_without_room(line: Line) -> None:
    rates = rates_of(line, message_rate="5/1m")
    line.has_room = False
    assert await rates.spend(TICKET, 1, 0) is None
    assert line.said == []


async def test_change(line: Line) -> None:
    rates = rates_of(line)
    rates.change(limits(message_rate="5/1m"))
    asking = ask(rates)
    await asyncio.sleep(0)
    rates.change(limits())
    assert await rates.spend(TICKET, 1, 0) is None
    rates.answered(words.Spent(question=1, limit="5 per 60 s"))
    assert await asking == "5 per 60 s", "what was asked is answered"
