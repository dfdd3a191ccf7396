"""What SMTP's tables, listeners and backends owe to each other."""

from collections.abc import Callable

import pytest

Told = Callable[..., list[str]]
Load = Callable[..., object]

TLS = '[tls]\ncertificates = [{ chain = "a", key = "b" }]\n'
IMAP = '[backend.imap]\naddress = "127.0.0.1:1143"\n'
SMTP = '[backend.smtp]\naddress = "127.0.0.1:2525"\n'
REPLAY = SMTP + 'login = "replay"\n'
NAME = '[smtp]\nhostname = "mx.example.org"\n'
MX = '[smtp.mx]\nlocal_domains = ["example.org"]\n'
SUBMISSION = "[smtp.submission]\n"
NOBODY = "no listener speaks SMTP; write [smtp.mx] for mail from other servers, [smtp.submission] for your users'"
OPEN = "which domains it takes mail for is not said, and without it anyone could send mail to anywhere through this"


def _listener(role: str, backend: str = "smtp") -> str:
    return f'[[listener]]\nprotocol = "smtp"\nrole = "{role}"\nbackend = "{backend}"\n'


_IMAP_LISTENER = '[[listener]]\nprotocol = "imap"\n'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # A listener without its table.
        (
            SMTP + _listener("mx"),
            [
                (
                    f'listener[0].role = "mx": {OPEN} machine, an open relay; write [smtp] and below it hostname = '
                    '"mx.example.org", and [smtp.mx] and below it local_domains = ["example.org"]'
                )
            ],
        ),
        (
            SMTP + NAME + _listener("mx"),
            [
                (
                    f'listener[0].role = "mx": {OPEN} machine, an open relay; write [smtp.mx] and below it '
                    'local_domains = ["example.org"]'
                )
            ],
        ),
        (
            SMTP + NAME + _listener("submission"),
            [
                (
                    'listener[0].role = "submission": who judges the passwords of those who send is not said; write '
                    '[smtp.submission] and below it auth = "imap"'
                )
            ],
        ),
        # A table without its listener.
        (
            IMAP + NAME + MX,
            [
                (
                    'smtp.mx: no listener has role = "mx"; write [[listener]] with protocol = "smtp", role = "mx", or '
                    "[backend.smtp] and no [[listener]] at all"
                )
            ],
        ),
        (
            REPLAY + IMAP + NAME + MX + SUBMISSION + _listener("mx"),
            [
                (
                    'backend.smtp.login = "replay": no listener with role = "submission" uses this backend, and nobody '
                    "else logs in over SMTP; remove it"
                ),
                (
                    'smtp.submission: no listener has role = "submission"; write [[listener]] with protocol = "smtp", '
                    'role = "submission", or [backend.smtp] and no [[listener]] at all'
                ),
            ],
        ),
        (IMAP + NAME, [f"smtp: {NOBODY}"]),
        (IMAP + SMTP, [f"backend.smtp: {NOBODY}"]),
        (SMTP, [f"backend.smtp: {NOBODY}"]),
        (SMTP + NAME, [f"smtp: {NOBODY}", f"backend.smtp: {NOBODY}"]),
        (
            SMTP + '[backend.old]\naddress = "h:1"',
            [
                (
                    "backend.old: nothing listens for it; call it backend.imap or backend.pop3, or write [[listener]] "
                    'and below it protocol = "imap", backend = "old"'
                ),
                f"backend.smtp: {NOBODY}",
            ],
        ),
        # Keys of SMTP on a backend of others.
        (
            IMAP + 'identity = "xclient"\nlogin = "xclient"',
            [
                (
                    'backend.imap.identity = "xclient": no listener with protocol = "smtp" uses this backend, and only '
                    "SMTP tells who the client is; remove it"
                ),
                (
                    'backend.imap.login = "xclient": no listener with role = "submission" uses this backend, and '
                    "nobody else logs in over SMTP; remove it"
                ),
            ],
        ),
        # Who judges.
        (
            REPLAY + NAME + SUBMISSION,
            [
                (
                    'smtp.submission.auth = "imap": there is no [backend.imap] to ask; write that table, or name '
                    "another in auth_backend"
                )
            ],
        ),
        (
            REPLAY + IMAP + NAME + SUBMISSION + 'auth_backend = "imapp"',
            [
                (
                    'smtp.submission.auth_backend = "imapp": there is no [backend.imapp] to ask; write that table, or '
                    "name another in auth_backend"
                )
            ],
        ),
        (
            SMTP + NAME + SUBMISSION + 'auth = "replay"',
            [
                (
                    'backend.smtp.login = "none": [smtp.submission] auth = "replay" logs users in there; write login = '
                    '"replay"'
                )
            ],
        ),
        # The listener's backend is told once.
        (
            IMAP + NAME + MX + _listener("mx"),
            [
                (
                    'listener[0].backend = "smtp": there is no [backend.smtp]; write that table with the address of '
                    "the old mail server"
                )
            ],
        ),
    ],
)
def test_what_is_told(told: Told, text: str, lines: list[str]) -> None:
    assert told(TLS + text) == lines


@pytest.mark.parametrize(
    "text",
    [
        SMTP + NAME + MX,
        SMTP + 'identity = "xclient"\n' + NAME + MX,
        SMTP + 'identity = "proxy-v2"\nidentity_required = false\n' + NAME + MX,
        REPLAY + NAME + SUBMISSION + 'auth = "replay"',
        SMTP + IMAP + NAME + SUBMISSION,
        SMTP + IMAP + NAME + MX + SUBMISSION,
        SMTP + 'identity = "xclient"\nlogin = "xclient"\n' + IMAP + NAME + MX + SUBMISSION,
        REPLAY + '[backend.old]\naddress = "h:1"\n' + NAME + SUBMISSION + 'auth = "pop3"\nauth_backend = "old"',
        SMTP
        + '[backend.out]\naddress = "h:2"\n'
        + IMAP
        + NAME
        + MX
        + SUBMISSION
        + _listener("mx")
        + _listener("submission", "out"),
    ],
)
def test_what_goes_together(load: Load, text: str) -> None:
    assert load(TLS + text)


def test_the_rules_of_smtp_speak_while_other_keys_are_wrong(told: Told) -> None:
    text = IMAP + 'identity = "xclient"\n' + _IMAP_LISTENER + NAME + SUBMISSION + '[log]\nlevel = "loud"'
    assert told(TLS + text) == [
        'log.level = "loud": write "debug", "info", "warning" or "error"',
        (
            'backend.imap.identity = "xclient": no listener with protocol = "smtp" uses this backend, and only SMTP '
            "tells who the client is; remove it"
        ),
        (
            'smtp.submission: no listener has role = "submission"; write [[listener]] with protocol = "smtp", role = '
            '"submission", or [backend.smtp] and no [[listener]] at all'
        ),
    ]


def test_nothing_is_made_of_what_is_not_known(told: Told) -> None:
    listener = '[[listener]]\nprotocol = "smtp"\nrole = "relay"\n'
    unknown_role = 'listener[0].role = "relay": write "mx" or "submission"'
    assert told(TLS + REPLAY + NAME + MX + listener) == [unknown_role]
    assert told(TLS + SMTP + 'login = "replai"\n' + NAME + SUBMISSION + 'auth = "replay"') == [
        'backend.smtp.login = "replai": did you mean "replay"? It is "xclient", "replay" or "none"'
    ]
    assert told(TLS + SMTP + _listener("mx") + '[smtp]\nhostname = "x"\n') == [
        'smtp.hostname = "x": other mail servers look this name up; write it in full, as "x.example.org"'
    ]
