"""Messages and recipients over time: exact for each client, both or nothing, and nothing kept without a limit."""

from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.admission import mail_rates as room
from tlsproxy.admission.base import Refused
from tlsproxy.admission.mail_rates import Allowance, MailCaps, MailRates
from tlsproxy.core.addresses import Client, client_from
from tlsproxy.core.outcome import Reason

JOE = client_from("192.0.2.1")
ANN = client_from("198.51.100.7")
CLIENTS = (JOE, ANN, client_from("2001:db8:0:1::1"), client_from("2001:db8:0:1::2"), client_from("203.0.113.5"))
EXEMPT = ip_network("203.0.113.0/24")
SIXTY = Allowance(count=60, period_s=60.0)
FIVE = Allowance(count=5, period_s=1.0)


def sent(rates: MailRates, client: Client, count: int, now: float) -> int:
    """How many of so many messages may be sent, one after the other."""
    return [rates.spend(client, 1, 0, now) for _ in range(count)].count(None)


def test_as_many_as_are_allowed_and_then_one_a_second() -> None:
    rates = MailRates(MailCaps(messages=SIXTY))
    assert sent(rates, JOE, 100, 5.0) == 60
    assert rates.spend(JOE, 1, 0, 5.0) == Refused(reason=Reason.RATE_EXCEEDED, limit="60 per 60 s")
    assert sent(rates, JOE, 100, 5.999) == 0
    assert sent(rates, JOE, 100, 6.0) == 1
    assert sent(rates, JOE, 100, 1000.0) == 60


def test_clients_do_not_share() -> None:
    rates = MailRates(MailCaps(messages=SIXTY))
    assert sent(rates, JOE, 61, 5.0) == 60
    assert sent(rates, ANN, 61, 5.0) == 60


def test_all_of_a_64_is_one_client() -> None:
    rates = MailRates(MailCaps(messages=SIXTY))
    assert sent(rates, client_from("2001:db8::1"), 50, 5.0) == 50
    assert sent(rates, client_from("2001:db8::2"), 50, 5.0) == 10
    assert sent(rates, client_from("2001:db8:0:1::2"), 50, 5.0) == 50


def test_messages_and_recipients_are_counted_apart() -> None:
    rates = MailRates(MailCaps(messages=SIXTY, recipients=FIVE))
    for _ in range(5):
        assert rates.spend(JOE, 0, 1, 5.0) is None
    assert rates.spend(JOE, 0, 1, 5.0) == Refused(reason=Reason.RATE_EXCEEDED, limit="5 per 1 s")
    assert sent(rates, JOE, 61, 5.0) == 60


def test_all_or_nothing() -> None:
    rates = MailRates(MailCaps(messages=SIXTY, recipients=FIVE))
    assert rates.spend(JOE, 1, 6, 5.0) is not None, "more than there will ever be"
    assert rates.spend(JOE, 1, 4, 5.0) is None
    assert rates.spend(JOE, 1, 2, 5.0) is not None
    assert rates.spend(JOE, 0, 1, 5.0) is None, "the refusal cost no recipient"
    assert sent(rates, JOE, 61, 5.0) == 59, "and no message"


def test_exempt_networks_are_not_counted() -> None:
    rates = MailRates(MailCaps(messages=FIVE, allow=(EXEMPT,)))
    assert sent(rates, client_from("203.0.113.5"), 1000, 5.0) == 1000
    assert len(rates) == 0
    assert sent(rates, JOE, 1000, 5.0) == 5


def test_without_a_limit_nothing_is_kept() -> None:
    rates = MailRates(MailCaps())
    assert sent(rates, JOE, 1000, 5.0) == 1000
    assert rates.spend(JOE, 1000, 1000, 5.0) is None
    assert len(rates) == 0


def test_what_costs_nothing_is_not_kept() -> None:
    rates = MailRates(MailCaps(messages=FIVE, recipients=FIVE))
    assert rates.spend(JOE, 0, 0, 5.0) is None
    assert len(rates) == 0
    assert rates.spend(JOE, 1, 0, 5.0) is None
    assert len(rates) == 1


def test_change() -> None:
    rates = MailRates(MailCaps(messages=FIVE, recipients=FIVE))
    assert rates.spend(JOE, 5, 5, 5.0) is None
    rates.change(MailCaps(messages=FIVE, recipients=SIXTY))
    assert rates.spend(JOE, 1, 0, 5.0) is not None, "the number that stays goes on"
    assert rates.spend(JOE, 0, 60, 5.0) is None
    rates.change(MailCaps(messages=SIXTY, recipients=SIXTY, allow=(EXEMPT,)))
    assert sent(rates, JOE, 100, 5.0) == 60
    assert sent(rates, client_from("203.0.113.5"), 100, 5.0) == 100
    rates.change(MailCaps())
    assert len(rates) == 0
    assert sent(rates, JOE, 100, 5.0) == 100


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_ADDRESSES", 10)
    rates = MailRates(MailCaps(messages=FIVE, recipients=FIVE))
    assert sent(rates, JOE, 6, 5.0) == 5
    for number in range(100):
        assert rates.spend(client_from(f"198.51.100.{number}"), 1, 1, 5.0) is None
        assert rates.spend(JOE, 1, 0, 5.0) is not None, "whoever keeps asking is not forgotten"
    assert len(rates) == 20


@dataclass(slots=True)
class Model:
    """Buckets in fractions of a token, none of them ever dropped."""

    caps: MailCaps
    levels: dict[tuple[str, bytes], tuple[Fraction, Fraction]] = field(default_factory=dict)

    def level(self, kind: str, key: bytes, now: Fraction) -> Fraction | None:
        allowance: Allowance | None = getattr(self.caps, kind)
        if allowance is None:
            return None
        level, since = self.levels.get((kind, key), (Fraction(allowance.count), now))
        return min(Fraction(allowance.count), level + (now - since) * allowance.count / Fraction(allowance.period_s))

    def spend(self, client: Client, wanted: dict[str, int], now: Fraction) -> str | None:
        if any(client.ip in network for network in self.caps.allow):
            return None
        levels = {kind: self.level(kind, client.key, now) for kind in wanted}
        for kind, count in wanted.items():
            level = levels[kind]
            if level is not None and count > level:
                return str(getattr(self.caps, kind))
        for kind, count in wanted.items():
            level = levels[kind]
            if level is not None:
                self.levels[kind, client.key] = level - count, now
        return None

    def change(self, caps: MailCaps) -> None:
        for kind in ("messages", "recipients"):
            if getattr(caps, kind) != getattr(self.caps, kind):
                self.levels = {known: level for known, level in self.levels.items() if known[0] != kind}
        self.caps = caps


ALLOWANCES = st.none() | st.builds(Allowance, count=st.integers(1, 5), period_s=st.sampled_from([0.5, 1.0, 3.0]))
CAPS = st.builds(MailCaps, messages=ALLOWANCES, recipients=ALLOWANCES, allow=st.sampled_from([(), (EXEMPT,)]))
SPENDING = st.tuples(st.sampled_from(CLIENTS), st.integers(0, 2), st.integers(0, 3), st.integers(0, 4))


@given(CAPS, st.lists(SPENDING | CAPS, max_size=60))
def test_same_as_a_naive_model(caps: MailCaps, steps: list[tuple[Client, int, int, int] | MailCaps]) -> None:
    rates, model, now = MailRates(caps), Model(caps), Fraction(100)
    for step in steps:
        if isinstance(step, MailCaps):
            rates.change(step)
            model.change(step)
            continue
        client, messages, recipients, pause = step
        now += Fraction(pause, 4)
        refused = rates.spend(client, messages, recipients, float(now))
        limit = model.spend(client, {"messages": messages, "recipients": recipients}, now)
        assert (refused.limit if refused else None) == limit
