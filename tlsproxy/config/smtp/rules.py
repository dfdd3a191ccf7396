"""What SMTP's sections owe to listeners and backends; must not know where a value comes from.

As in ``config.rules``, of which this is a part, what is not well-formed is passed as None.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from tlsproxy.config.sections import BackendConfig, ListenerConfig
from tlsproxy.config.smtp.mx import OPEN_RELAY
from tlsproxy.config.smtp.submission import SubmissionConfig
from tlsproxy.config.smtp.table import SmtpConfig
from tlsproxy.core.errors import Mistake
from tlsproxy.core.kinds import BackendIdentity, BackendLogin, ProtocolName, SmtpRole, SubmissionAuth

_TABLES: Final = {
    SmtpRole.MX: 'local_domains = ["example.org"]',
    SmtpRole.SUBMISSION: 'auth = "imap"',
}
_WHY: Final = {
    SmtpRole.MX: f"which domains it takes mail for is not said, and {OPEN_RELAY}",
    SmtpRole.SUBMISSION: "who judges the passwords of those who send is not said",
}

_Roles = Mapping[str, Collection[SmtpRole]]
"""The roles that a backend serves, by its name."""


def broken_tables(
    listeners: Mapping[int, ListenerConfig | None],
    backends: Mapping[str, BackendConfig | None],
    smtp: SmtpConfig | None,
) -> Iterator[Mistake]:
    """Listeners that lack their table, and tables that lack their listener or backend.

    Args:
        listeners: All listeners by their place in the file; None for one that is not well-formed.
        backends: All backends by name; None for one that is not well-formed.
        smtp: The table [smtp], well-formed, or None where it is not written.
    """
    roles: set[SmtpRole] = set()
    for i, listener in listeners.items():
        if listener and listener.role:
            roles.add(listener.role)
            yield from _without_table(f"listener[{i}].role", listener.role, smtp)
    if None not in listeners.values():
        yield from _without_listener(roles, backends, smtp)
    if smtp and smtp.submission:
        yield from _without_judge(listeners, backends, smtp.submission)


def broken_backends(
    listeners: Mapping[int, ListenerConfig | None], backends: Mapping[str, BackendConfig | None]
) -> Iterator[Mistake]:
    """Backends with keys of SMTP that have no effect, or whose effect would be a danger."""
    if None in listeners.values():
        return  # whom the backends serve is not known
    roles: dict[str, set[SmtpRole]] = {name: set() for name in backends}
    for listener in filter(None, listeners.values()):
        if listener.role:
            roles.get(listener.backend, set()).add(listener.role)
    for name, backend in backends.items():
        if backend:
            yield from _of_backend(name, backend, roles[name])


def _without_table(key: str, role: SmtpRole, smtp: SmtpConfig | None) -> Iterator[Mistake]:
    """A listener whose table is not written."""
    if smtp and smtp.table_of(role):
        return
    first = "" if smtp else '[smtp] and below it hostname = "mx.example.org", and '
    yield Mistake(
        key=key, value=f'"{role}"', hint=f"{_WHY[role]}; write {first}[smtp.{role}] and below it {_TABLES[role]}"
    )


def _without_listener(
    roles: Collection[SmtpRole], backends: Collection[str], smtp: SmtpConfig | None
) -> Iterator[Mistake]:
    """A table that nothing would come of."""
    written = [role for role in SmtpRole if smtp and smtp.table_of(role)]
    for role in written:
        if role not in roles:
            listener = f'[[listener]] with protocol = "smtp", role = "{role}"'
            hint = f'no listener has role = "{role}"; write {listener}, or [backend.smtp] and no [[listener]] at all'
            yield Mistake(key=f"smtp.{role}", value="", hint=hint)
    idle = [*(["smtp"] if smtp else []), *(["backend.smtp"] if ProtocolName.SMTP in backends else [])]
    for key in idle if not written and not roles else ():
        hint = "no listener speaks SMTP; write [smtp.mx] for mail from other servers, [smtp.submission] for your users'"
        yield Mistake(key=key, value="", hint=hint)


def _without_judge(
    listeners: Mapping[int, ListenerConfig | None],
    backends: Mapping[str, BackendConfig | None],
    submission: SubmissionConfig,
) -> Iterator[Mistake]:
    """Ways to judge passwords that cannot work."""
    name = submission.auth_backend_name
    if name and name not in backends:
        key = "auth_backend" if submission.auth_backend else "auth"
        hint = f"there is no [backend.{name}] to ask; write that table, or name another in auth_backend"
        yield Mistake(key=f"smtp.submission.{key}", value=f'"{name}"', hint=hint)
    if submission.auth is SubmissionAuth.REPLAY:
        served = {each.backend for each in listeners.values() if each and each.role is SmtpRole.SUBMISSION}
        for backend_name in sorted(served):
            backend = backends.get(backend_name)
            if backend and backend.login is not BackendLogin.REPLAY:
                hint = '[smtp.submission] auth = "replay" logs users in there; write login = "replay"'
                yield Mistake(key=f"backend.{backend_name}.login", value=f'"{backend.login}"', hint=hint)


def _of_backend(name: str, backend: BackendConfig, roles: Collection[SmtpRole]) -> Iterator[Mistake]:
    """One backend, by the roles that it serves."""
    if backend.identity is not BackendIdentity.NONE and not roles:
        hint = 'no listener with protocol = "smtp" uses this backend, and only SMTP tells who the client is; remove it'
        yield Mistake(key=f"backend.{name}.identity", value=f'"{backend.identity}"', hint=hint)
    if backend.login is not BackendLogin.NONE and SmtpRole.SUBMISSION not in roles:
        hint = 'no listener with role = "submission" uses this backend, and nobody else logs in over SMTP; remove it'
        yield Mistake(key=f"backend.{name}.login", value=f'"{backend.login}"', hint=hint)
