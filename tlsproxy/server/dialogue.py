"""The plaintext phase: a client and its Gate; must not know a protocol's text."""

from typing import assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.protocols.base import Gate, GateAction, Hangup, PasswordExposed, StartTls, ToClient
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import SessionEndedError


async def hold_dialogue(client: Endpoint, gate: Gate, chronicle: Chronicle) -> None:
    """Feed the Gate and do what it says, until the client asks for TLS and has been told to go ahead.

    Raises:
        SessionEndedError: The Gate, or the client's close, ends the session.
        PeerLostError: The connection broke.
    """
    client.push(gate.greeting())
    is_upgrade = False
    while not is_upgrade:
        data = await client.receive()
        if not data:
            raise SessionEndedError(Reason.CLIENT_CLOSED)
        for action in gate.receive(data):
            is_upgrade = _obey(action, client, chronicle)
        await client.drained()


def _obey(action: GateAction, client: Endpoint, chronicle: Chronicle) -> bool:
    """Do what the Gate says; True for STARTTLS, after which it says nothing more."""
    match action:
        case ToClient(data=data):
            client.push(data)
        case PasswordExposed():
            chronicle.exposed(action)
        case Hangup(reason=reason):
            if reason is Reason.STARTTLS_INJECTION:
                chronicle.injected()
            raise SessionEndedError(reason, is_told=True)
        case StartTls():
            return True
        case _:
            assert_never(action)
    return False
