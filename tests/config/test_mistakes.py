"""Mistakes as the administrator reads them: whole lines, many at once."""

import tomllib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tlsproxy.config import mistakes
from tlsproxy.config.describe import reference, sections
from tlsproxy.config.model import RULES_BROKEN, Config, ListenerConfig

Told = Callable[..., list[str]]

PAIR = 'certificates = [{ chain = "/etc/tlsproxy/mail.pem", key = "/etc/tlsproxy/mail.key" }]'
TLS = '[tls]\ncertificates = [{ chain = "a", key = "b" }]\n'
IMAP = '[backend.imap]\naddress = "127.0.0.1:1143"\n'
NO_ROLE = (
    'listener[0]: protocol "smtp" needs a role, since what holds for strangers and for users is not the same; write '
    'role = "mx" for mail from other servers, role = "submission" for that of your users'
)


def test_an_empty_file_is_told_what_to_write(told: Told) -> None:
    assert told("") == [
        f"tls: missing; write [tls] and below it {PAIR}",
        'backend: no old mail server is named; write [backend.imap] and below it address = "127.0.0.1:1143"',
    ]


def test_many_at_once_in_the_order_of_the_file(told: Told) -> None:
    text = """
[server]
workers = 0
loop = "asyncio"
[log]
level = "warn"
[limits]
per_adress = 10
total = 0
per_address = 0
connection_rate = 120
unauthenticated = "lots"
bad_commands = "3"
literal = "4 kilos"
line_imap = "1GiB"
allow = ["10.0.0.0/33", "10.1.0.0/8", 5]
idle_imap = "30m"
[timeouts]
login = 60
tls_handshake = "10"
drain = "5 minutes"
login_stressed = "0s"
[backend.imap]
adress = "127.0.0.1:1143"
tls = "startls"
verify = "yes"
[tls]
certificates = []
profile = "strong"
"""
    assert told(text) == [
        'server.workers = 0: write "auto", or a number from 1 to 256',
        'server.loop = "asyncio": write "auto", "selector" or "uvloop"',
        'log.level = "warn": did you mean "warning"? It is "debug", "info", "warning" or "error"',
        'limits.per_adress = 10: unknown key; did you mean "per_address"?',
        "limits.total = 0: must be at least 1",
        'limits.per_address = 0: 0 would let nobody in; write "none" for unlimited',
        'limits.connection_rate = 120: the time is missing; write "120/1m" for 120 a minute, or "none" for unlimited',
        'limits.unauthenticated = "lots": write a whole number without quotes, or "none" for unlimited',
        'limits.bad_commands = "3": write a whole number without quotes, as 100',
        'limits.literal = "4 kilos": write a size as "512B", "64KiB" or "25MB"',
        'limits.line_imap = "1GiB": must be from "1B" to "16MiB"',
        'limits.allow[0] = "10.0.0.0/33": write a network as "192.0.2.0/24" or "2001:db8::/32", or one address',
        'limits.allow[1] = "10.1.0.0/8": the address has bits behind its prefix; write "10.0.0.0/8", or the address',
        'limits.allow[2] = 5: write it in quotes, as "192.0.2.0/24"',
        'limits.idle_imap = "30m": unknown key here; it belongs to [timeouts]',
        'timeouts.login = 60: a unit is missing; write "60s" for seconds or "60m" for minutes',
        'timeouts.tls_handshake = "10": a unit is missing; write "10s" for seconds or "10m" for minutes',
        'timeouts.drain = "5 minutes": write a duration as "500ms", "10s", "5m" or "1h30m"',
        'timeouts.login_stressed = "0s": a deadline of nothing would end every connection; write a duration as "10s"',
        'backend.imap.adress = "127.0.0.1:1143": unknown key; did you mean "address"?',
        'backend.imap.tls = "startls": did you mean "starttls"? It is "off", "implicit" or "starttls"',
        'backend.imap.verify = "yes": write true or false, without quotes',
        'backend.imap.address: missing; write address = "127.0.0.1:1143"',
        "tls.certificates = []: write at least one",
        'tls.profile = "strong": write "modern", "intermediate" or "old"',
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # The wrong shape.
        (
            'backend = "127.0.0.1:1143"\n' + TLS,
            'backend = "127.0.0.1:1143": write [backend.imap] and below it address = "127.0.0.1:1143"',
        ),
        (
            TLS + '[backend]\nimap = "h:1"',
            'backend.imap = "h:1": write [backend.imap] and below it address = "127.0.0.1:1143"',
        ),
        (TLS + IMAP + "[[limits]]\ntotal = 5", "limits: there is only one; write [limits] in single brackets"),
        ("limits = 5\n" + TLS + IMAP, "limits = 5: write [limits] and below it its keys, as total = 4096"),
        (
            TLS + IMAP + '[listener]\nprotocol = "imap"',
            "listener: write [[listener]] in double brackets, once for each",
        ),
        ("listener = [5]\n" + TLS + IMAP, 'listener[0] = 5: write [[listener]] and below it protocol = "imap"'),
        (
            '[tls]\ncertificates = { chain = "a", key = "b" }\n' + IMAP,
            f"tls.certificates: write a list: {PAIR}",
        ),
        (
            '[tls]\ncertificates = ["a.pem"]\n' + IMAP,
            'tls.certificates[0] = "a.pem": write { chain = "/etc/tlsproxy/mail.pem", key = "/etc/tlsproxy/mail.key" }',
        ),
        (
            TLS + IMAP + '[[listener]]\nprotocol = "imap"\nbind = 993',
            "listener[0].bind = 993: write a list: bind = [993]",
        ),
        (
            TLS + IMAP + '[[listener]]\nprotocol = "imap"\nbind = []',
            "listener[0].bind = []: write at least one, or leave bind out",
        ),
        # Unknown keys.
        ("listeners = 1\n" + TLS + IMAP, 'listeners = 1: unknown key; did you mean "listener"?'),
        (
            TLS + IMAP + "[server]\nfrobnicate = 5",
            "server.frobnicate = 5: unknown key; known here are workers, run_as, loop",
        ),
        (TLS + IMAP + "[log]\nbind = 5", "log.bind = 5: unknown key here; it belongs to [[listener]]"),
        (
            TLS + IMAP + '[backend."Old Mail"]\naddress = "h:1"',
            'backend."Old Mail": a name is lower-case letters, digits, "-" and "_", beginning with a letter or digit',
        ),
        # Values.
        (TLS + IMAP + "[limits]\ntotal = true", "limits.total = true: write a whole number without quotes, as 100"),
        (TLS + IMAP + "[limits]\ntotal = 1.5", "limits.total = 1.5: write a whole number without quotes, as 100"),
        (TLS + IMAP + "[limits]\ntotal = 9999999999", "limits.total = 9999999999: must be at most 1000000000"),
        (TLS + IMAP + "[limits]\nper_address = -1", "limits.per_address = -1: must be at least 1"),
        (TLS + IMAP + "[timeouts]\nlogin = true", 'timeouts.login = true: write it in quotes, as "10s"'),
        (TLS + IMAP + "[timeouts]\nlogin = nan", 'timeouts.login = nan: write it in quotes, as "10s"'),
        (
            TLS + IMAP + '[server]\nworkers = "two"',
            'server.workers = "two": write "auto", or a number from 1 to 256',
        ),
        (TLS + IMAP + "[server]\nworkers = 257", 'server.workers = 257: write "auto", or a number from 1 to 256'),
        (TLS + IMAP + "[server]\nworkers = true", 'server.workers = true: write "auto", or a number from 1 to 256'),
        (
            TLS + IMAP + '[server]\nrun_as = "Joe"',
            'server.run_as = "Joe": write a user\'s name, as "tlsproxy", or a user and a group, as "tlsproxy:ssl-cert"',
        ),
        (TLS + IMAP + "[server]\nrun_as = 33", 'server.run_as = 33: write it in quotes, as "tlsproxy"'),
        (TLS + IMAP + "[log]\nfile = 5", 'log.file = 5: write it in quotes, as "/etc/tlsproxy/mail.pem"'),
        (
            TLS + "[backend.imap]\naddress = 143",
            'backend.imap.address = 143: the host is missing; write "127.0.0.1:143"',
        ),
        (
            TLS + IMAP + '[[listener]]\nprotocol = "smtp"',
            NO_ROLE,
        ),
        (
            TLS + IMAP + '[[listener]]\nprotocol = "imap"\nbind = [143]',
            'listener[0].bind[0] = 143: the host is missing; write "0.0.0.0:143" for IPv4, "[::]:143" for IPv6',
        ),
        (
            TLS + IMAP + 'tls = "implicit"\nserver_name = "a b"',
            'backend.imap.server_name = "a b": "a b" is no host; write an address or a name before the ":"',
        ),
        (
            TLS + IMAP + 'tls = "implicit"\nca = ""',
            'backend.imap.ca = "": write the path of a file, as "/etc/tlsproxy/mail.pem"',
        ),
        (
            TLS + IMAP + 'tls = "implicit"\nserver_name = "unix:x"',
            'backend.imap.server_name = "unix:x": write the name on its certificate, as "mail.example.org"',
        ),
        (TLS + IMAP + "[limits]\nliteral = 0", 'limits.literal = 0: must be from "1B" to "16MiB"'),
        (TLS + IMAP + "[limits]\nliteral = 16777217", 'limits.literal = 16777217: must be from "1B" to "16MiB"'),
        # What one section can see.
        (
            TLS + IMAP + 'ca = "x"\nverify = false',
            'backend.imap: verify and ca would have no effect while tls is "off"; write tls = "implicit" or "starttls"',
        ),
        (
            TLS + IMAP + 'tls = "implicit"\nca = "x"\nverify = false',
            "backend.imap: ca has no effect while verify is false; remove one of them",
        ),
        (
            TLS + '[backend.imap]\naddress = "unix:/s"\ntls = "implicit"',
            "backend.imap: a unix socket has no name; set server_name to the name on the server's certificate",
        ),
        (
            TLS + IMAP + '[limits]\nconnection_rate = "none"\nconnection_burst = 5',
            "limits: connection_burst has no effect without connection_rate; remove one of them",
        ),
        (
            TLS + IMAP + '[limits]\nbefore_login = "1KiB"',
            'limits: before_login must hold the longest line or literal; write at least "12KiB"',
        ),
        (TLS + IMAP + '[timeouts]\nlogin = "5s"', "timeouts: login_stressed must not be longer than login"),
    ],
)
def test_one_mistake(told: Told, text: str, line: str) -> None:
    assert told(text) == [line]


def test_items_that_are_all_wrong_are_not_called_too_few(told: Told) -> None:
    assert told(TLS + IMAP + '[[listener]]\nprotocol = "imap"\nbind = ["*:143", "fd:"]') == [
        'listener[0].bind[0] = "*:143": write two addresses: "0.0.0.0:143" for IPv4 and "[::]:143" for IPv6',
        'listener[0].bind[1] = "fd:": write "fd:NAME" with the FileDescriptorName= of the systemd socket unit',
    ]


def test_the_rules_speak_while_other_keys_are_wrong(told: Told) -> None:
    text = (
        TLS
        + IMAP
        + '[[listener]]\nprotocol = "imap"\nbackend = "imapp"\n[[listener]]\nprotocol = "x"\n[log]\nlevel = 5'
    )
    assert told(text) == [
        'listener[1].protocol = "x": write "imap", "pop3" or "smtp"',
        'log.level = 5: write "debug", "info", "warning" or "error"',
        'listener[0].backend = "imapp": there is no [backend.imapp]; did you mean "imap"?',
    ]


def test_what_is_wrong_itself_is_not_told_again_by_the_rules(told: Told) -> None:
    text = TLS + '[backend.imap]\naddress = 5\n[[listener]]\nprotocol = "imap"\ntls = 5'
    assert told(text) == [
        'backend.imap.address = 5: the host is missing; write "127.0.0.1:5"',
        'listener[0].tls = 5: write "implicit" or "starttls"',
    ]


def test_an_error_that_has_no_words_yet_is_told_all_the_same() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, int]).validate_python({"x": "y"})
    [mistake] = mistakes.told(caught.value, {"x": "y"}, {})
    assert str(mistake).startswith('x = "y": Input should be a valid integer')


def test_a_long_value_is_cut() -> None:
    assert mistakes.shortened("x" * 100) == '"' + "x" * 56 + "..."
    assert mistakes.shortened(["a\n\x1b"]) == '["a\\U0000000a\\U0000001b"]'
    assert mistakes.shortened({"a": 1}) == mistakes.shortened([{"a": 1}]) == ""


_SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.sampled_from(["none", "imap", "1s"])
)
_ANY = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["imap", "address", "protocol", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_TABLE = tomllib.loads(reference())
_PATHS = [
    ("tls",),
    ("tls", "certificates"),
    ("tls", "profile"),
    ("listener",),
    ("backend",),
    ("backend", "imap"),
    ("limits",),
    ("log",),
    *(
        (head, key)
        for head in ("limits", "timeouts", "log", "server")
        for key in Config.model_fields[head].default.model_fields_set
        | set(type(Config.model_fields[head].default).model_fields)
    ),
    *(("backend", "imap", key) for key in ("address", "tls", "verify", "ca", "server_name", "legacy_tls")),
    *(("backend", "imap", key) for key in ("identity", "identity_required", "login")),
    *(("listener", 0, key) for key in ListenerConfig.model_fields),
    *(
        (*head.strip("[]").split("."), key)
        for head, section in sections().items()
        for key in section.model_fields
        if head.startswith(("[smtp", "[dns"))
    ),
]


@given(st.sampled_from(_PATHS), _ANY)
def test_any_value_is_taken_or_told_in_our_words(path: tuple[str, ...], value: object) -> None:
    table: dict[str, object] = {"tls": dict(_TABLE["tls"]), "backend": {"imap": {"address": "h:1"}}}
    if path[0] == "smtp":
        table["smtp"] = {"hostname": "mx.example", "mx": {"local_domains": ["example"]}, "submission": {}}
    if path[0] == "listener" and len(path) > 1:
        table["listener"] = [{"protocol": "imap", path[2]: value}]
    else:
        node = table
        for step in path[:-1]:
            node = node.setdefault(step, {})  # type: ignore[assignment]  # tables all the way
        node[path[-1]] = value
    error = _refusal(table)
    if error:
        lines = mistakes.told(error, table, {})
        assert {detail["type"] for detail in error.errors()} <= mistakes._WORDS.keys() | {RULES_BROKEN}
        assert lines
        assert all(line.hint and str(line).isprintable() for line in lines)


def _refusal(table: dict[str, object]) -> ValidationError | None:
    try:
        Config.model_validate(table)
    except ValidationError as error:
        return error
    return None


def test_what_cannot_be_printed_is_escaped_in_a_hint(told: Told) -> None:
    (line,) = told(TLS + '[backend.imap]\naddress = "127.0.0.1:1143"\ntls = "implicit"\nserver_name = "\\u001f"\n')
    assert "\\x1f" in line
    assert line.isprintable()


def test_the_environment_and_the_file_meet_in_one_line(told: Told) -> None:
    assert told(TLS + IMAP, {"TLSPROXY__LIMITS": "5"}) == [
        "limits = 5: write [limits] and below it its keys, as total = 4096 (set by TLSPROXY__LIMITS)"
    ]
