"""What a worker says of its tickets and of backends, and what comes of it; it is trusted with its own tickets alone."""

from collections.abc import Mapping

from tlsproxy.admission.base import Admission
from tlsproxy.admission.mail_rates import MailRates
from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.process.line import words
from tlsproxy.server.way.health import BackendHealth


def hear(word: words.FromWorker, owner: int, admission: Admission, health: Mapping[int, BackendHealth]) -> None:
    """Take down what a worker says.

    Args:
        word: What it says.
        owner: The worker.
        admission: Who holds which ticket.
        health: Who watches a backend, by its number.

    Raises:
        ValueError: It makes no sense.
    """
    held = admission.held(owner)
    match word:
        case words.Released(tickets=numbers):
            for ticket in filter(None, map(held.get, numbers)):
                admission.release(ticket)
        case words.Authenticated(tickets=numbers):
            for ticket in filter(None, map(held.get, numbers)):
                admission.authenticated(ticket)
        case words.Failed(backend=number, client=client, reason=reason, detail=detail) if number in health:
            health[number].failed(bytes.fromhex(client), BackendError(Reason(reason), detail))
        case words.Worked(backend=number, address=address) if number in health:
            health[number].worked(address)
        case _:
            pass  # a sign of life, or of a backend that is no longer served


def spend(word: words.Spend, owner: int, admission: Admission, mail_rates: MailRates, now: float) -> words.Spent:
    """Answer a worker that asks whether a client may send more mail.

    Args:
        word: What it asks.
        owner: The worker.
        admission: Who holds which ticket.
        mail_rates: Who has sent how much.
        now: Monotonic seconds.

    Raises:
        ValueError: It makes no sense.
    """
    if word.messages < 0 or word.recipients < 0:
        raise ValueError(f"no amount: {word}")
    ticket = admission.held(owner).get(word.ticket)
    refused = mail_rates.spend(ticket.peer.client, word.messages, word.recipients, now) if ticket is not None else None
    return words.Spent(question=word.question, limit=refused.limit if refused is not None else "")
