"""What a worker says of its tickets and of backends, and what comes of it; it is trusted with its own tickets alone."""

from collections.abc import Mapping

from tlsproxy.admission.base import Admission
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
            for ticket in [held[number] for number in numbers if number in held]:
                admission.release(ticket)
        case words.Authenticated(tickets=numbers):
            for ticket in [held[number] for number in numbers if number in held]:
                admission.authenticated(ticket)
        case words.Failed(backend=number, client=client, reason=reason, detail=detail) if number in health:
            health[number].failed(bytes.fromhex(client), BackendError(Reason(reason), detail))
        case words.Worked(backend=number, address=address) if number in health:
            health[number].worked(address)
        case _:
            pass  # a sign of life, or of a backend that is no longer served
