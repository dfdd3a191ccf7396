"""What the door does with the admission table, for tests of the table alone."""

from tlsproxy.admission.base import Admission, Admitted, Refused
from tlsproxy.core.addresses import Peer


def admit(table: Admission, peer: Peer, owner: int, now: float, listener: str = "imaps") -> Admitted | Refused:
    return table.refusal(peer.client, now) or table.enter(peer, listener, owner)
