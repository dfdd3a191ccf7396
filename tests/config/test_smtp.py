"""SMTP's tables as values: what they take, what follows from what, what each can judge alone."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tlsproxy.config.model import Config, DnsConfig, IdentityChecks, SmtpConfig, SpfChecks, TcpAddress
from tlsproxy.config.smtp import values
from tlsproxy.core.kinds import (
    BackendIdentity,
    BackendLogin,
    BareNewline,
    EarlyTalker,
    ListenerTls,
    Mode,
    ProtocolName,
    RejectAt,
    SaslMechanism,
    SenderLogin,
    SmtpProfile,
    SmtpRole,
    SubmissionAuth,
)

Load = Callable[..., Config]

TLS = '[tls]\ncertificates = [{ chain = "a", key = "b" }]\n'
BACKEND = '[backend.smtp]\naddress = "127.0.0.1:2525"\n'
NAME = '[smtp]\nhostname = "mx.example.org"\n'
MX = '[smtp.mx]\nlocal_domains = ["example.org"]\n'
SUBMISSION = '[smtp.submission]\nauth = "replay"\n'


def _listeners(config: Config) -> list[tuple[str, ProtocolName, SmtpRole | None, ListenerTls, str, bool | None]]:
    return [
        (each.name, each.protocol, each.role, each.tls, str(each.bind[0]), each.require_tls) for each in config.listener
    ]


def test_mx_alone_is_one_listener(load: Load) -> None:
    assert _listeners(load(TLS + BACKEND + NAME + MX)) == [
        ("smtp", ProtocolName.SMTP, SmtpRole.MX, ListenerTls.STARTTLS, "0.0.0.0:25", False)
    ]


def test_submission_alone_is_two(load: Load) -> None:
    assert _listeners(load(TLS + BACKEND + 'login = "replay"\n' + NAME + SUBMISSION)) == [
        ("submissions", ProtocolName.SMTP, SmtpRole.SUBMISSION, ListenerTls.IMPLICIT, "0.0.0.0:465", None),
        ("submission", ProtocolName.SMTP, SmtpRole.SUBMISSION, ListenerTls.STARTTLS, "0.0.0.0:587", None),
    ]


def test_smtp_comes_beside_imap(load: Load) -> None:
    imap = '[backend.imap]\naddress = "127.0.0.1:1143"\n'
    config = load(TLS + BACKEND + 'login = "replay"\n' + imap + NAME + MX + "[smtp.submission]\n")
    assert [each.name for each in config.listener] == ["imaps", "imap", "smtp", "submissions", "submission"]
    assert {each.backend for each in config.listener if each.role} == {"smtp"}


def test_the_same_from_sections() -> None:
    smtp = SmtpConfig.model_validate({"hostname": "mx.example.org", "mx": {"local_domains": ["example.org"]}})
    config = Config.model_validate(
        {
            "tls": {"certificates": [{"chain": "a", "key": "b"}]},
            "backend": {"smtp": {"address": "h:25"}},
            "smtp": smtp,
        }
    )
    assert [each.role for each in config.listener] == [SmtpRole.MX]


def test_a_written_listener_takes_what_is_usual_for_its_role(load: Load) -> None:
    smtp = '[[listener]]\nprotocol = "smtp"\nrole = '
    config = load(TLS + BACKEND + 'login = "replay"\n' + NAME + MX + SUBMISSION + f'{smtp}"mx"\n{smtp}"submission"\n')
    assert [(each.name, each.tls, [str(bind) for bind in each.bind]) for each in config.listener] == [
        ("smtp", ListenerTls.STARTTLS, ["0.0.0.0:25", "[::]:25"]),
        ("submissions", ListenerTls.IMPLICIT, ["0.0.0.0:465", "[::]:465"]),
    ]


def test_the_defaults(load: Load) -> None:
    config = load(TLS + BACKEND + 'login = "replay"\n' + NAME + MX + SUBMISSION)
    smtp = config.smtp
    assert smtp is not None
    numbers = (smtp.max_message_size, smtp.max_recipients, smtp.max_errors)
    waits = (smtp.command_timeout, smtp.data_timeout, smtp.data_reply_timeout, smtp.greet_delay)
    choices = (smtp.bare_newline, smtp.strict_sync, smtp.early_talker, smtp.reject_at)
    assert numbers == (25_000_000, 100, 20)
    assert waits == (300, 180, 600, 0)
    assert choices == (BareNewline.NORMALIZE, True, EarlyTalker.LOG, RejectAt.RCPT)
    mx, submission = smtp.mx, smtp.submission
    assert mx is not None
    assert submission is not None
    assert (mx.profile, mx.dry_run, mx.exempt_networks) == (SmtpProfile.STANDARD, False, ())
    assert mx.exempt_recipients == ("postmaster", "abuse")
    assert (mx.trusted_forwarders.networks, mx.trusted_forwarders.ptr_suffixes) == ((), ())
    assert mx.identity == IdentityChecks.model_construct(deadline=5)
    assert mx.spf == SpfChecks.model_construct(explanation=False, deadline=20)
    assert {getattr(mx.spf, key) for key in ("fail", "softfail", "permerror", "temperror", "helo")} == {None}
    assert submission.mechanisms == (SaslMechanism.PLAIN, SaslMechanism.LOGIN)
    assert (submission.sender_login, submission.max_auth_failures, submission.cache) == (SenderLogin.OFF, 3, 60)
    assert (config.dns.servers, config.dns.timeout, config.dns.cache_entries, config.dns.max_ttl) == (
        (),
        2,
        10_000,
        3600,
    )
    backend = load(TLS + BACKEND + NAME + MX).backend["smtp"]
    assert (backend.identity, backend.identity_required, backend.login) == (
        BackendIdentity.NONE,
        True,
        BackendLogin.NONE,
    )


def test_what_is_written_comes_out_in_one_form(load: Load, tmp_path: Path) -> None:
    config = load(
        TLS
        + BACKEND
        + """[smtp]
hostname = "MX.Example.org."
max_message_size = 100000
[smtp.mx]
local_domains = ["Example.ORG.", "xn--mnchen-3ya.example"]
exempt_networks = ["192.0.2.0/24"]
exempt_recipients = ["Postmaster", "Joe.User+x@example.org"]
trusted_forwarders = { networks = ["2001:db8::1"], ptr_suffixes = [".Forwarder.example"] }
[smtp.mx.identity]
no_ptr = "off"
[smtp.mx.spf]
temperror = "reject"
[dns]
servers = ["127.0.0.1", "::1", "127.0.0.1:5353", "[::1]:5353"]
"""
    )
    smtp = config.smtp
    assert smtp is not None
    assert smtp.mx is not None
    assert (smtp.hostname, smtp.max_message_size) == ("mx.example.org", 100_000)
    assert smtp.mx.local_domains == ("example.org", "xn--mnchen-3ya.example")
    assert smtp.mx.exempt_recipients == ("postmaster", "joe.user+x@example.org")
    assert smtp.mx.trusted_forwarders.networks == (ip_network("2001:db8::1"),)
    assert smtp.mx.trusted_forwarders.ptr_suffixes == ("forwarder.example",)
    assert (smtp.mx.identity.no_ptr, smtp.mx.spf.temperror) == (Mode.OFF, Mode.REJECT)
    assert config.dns.servers == (
        TcpAddress("127.0.0.1", 53),
        TcpAddress("::1", 53),
        TcpAddress("127.0.0.1", 5353),
        TcpAddress("::1", 5353),
    )


def test_a_password_file_is_relative_to_the_folder(load: Load, tmp_path: Path) -> None:
    config = load(TLS + BACKEND + NAME + '[smtp.submission]\nauth = "file"\npassword_file = "users"\n')
    assert config.smtp is not None
    assert config.smtp.submission is not None
    assert config.smtp.submission.password_file == tmp_path / "users"
    assert config.smtp.submission.auth_backend_name == ""


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({}, "imap"),
        ({"auth": "pop3"}, "pop3"),
        ({"auth_backend": "old"}, "old"),
        ({"auth": "replay"}, ""),
    ],
)
def test_which_backend_is_asked(keys: dict[str, str], name: str) -> None:
    table = SmtpConfig.model_validate({"hostname": "a.b", "submission": keys}).submission
    assert table is not None
    assert table.auth_backend_name == name


@pytest.mark.parametrize(
    ("keys", "is_relaxed"),
    [
        ({}, True),
        ({"profile": "observe"}, True),
        ({"profile": "strict"}, False),
        ({"profile": "strict", "identity": {"relaxed": True}}, True),
        ({"identity": {"relaxed": False}}, False),
    ],
)
def test_strict_is_not_relaxed(keys: dict[str, Any], is_relaxed: bool) -> None:  # noqa: FBT001 - a row of the table
    table = SmtpConfig.model_validate({"hostname": "a.b", "mx": {"local_domains": ["a.b"], **keys}}).mx
    assert table is not None
    assert table.is_relaxed is is_relaxed


def test_the_environment_overrides_smtp_too(load: Load) -> None:
    environ = {
        "TLSPROXY__SMTP__HOSTNAME": "other.example",
        "TLSPROXY__SMTP__MX__LOCAL_DOMAINS": '["a.example"]',
        "TLSPROXY__SMTP__MX__SPF__FAIL": "tag",
        "TLSPROXY__SMTP__MX__TRUSTED_FORWARDERS__PTR_SUFFIXES__0": "f.example",
        "TLSPROXY__BACKEND__SMTP__IDENTITY": "proxy-v1",
        "TLSPROXY__LIMITS__MESSAGE_RATE": "5/1m",
        "TLSPROXY__DNS__SERVERS__0": "127.0.0.1",
    }
    config = load(TLS + BACKEND + NAME + MX, environ)
    assert config.smtp is not None
    assert config.smtp.mx is not None
    assert (config.smtp.hostname, config.smtp.mx.local_domains) == ("other.example", ("a.example",))
    assert (config.smtp.mx.spf.fail, config.smtp.mx.trusted_forwarders.ptr_suffixes) == (Mode.TAG, ("f.example",))
    assert config.backend["smtp"].identity is BackendIdentity.PROXY_V1
    assert str(config.limits.message_rate) == "5/1m"
    assert len(config.dns.servers) == 1


_READERS: list[Any] = [
    values.Domain,
    values.Hostname,
    values.Suffix,
    values.Recipient,
    values.MessageSizeBytes,
    values.RecipientCount,
    values.CacheSeconds,
    values.NameServer,
]


@given(
    st.sampled_from(_READERS), st.text() | st.integers() | st.booleans() | st.none() | st.from_regex(r"[a.@1-]{1,9}")
)
def test_any_value_is_read_once_and_for_all_or_refused(reader: Any, value: object) -> None:
    adapter = TypeAdapter(reader)
    try:
        found = adapter.validate_python(value)
    except ValidationError as error:
        assert {detail["type"] for detail in error.errors()} == {"value_error"}  # noqa: PT017 - either is right
        return
    assert adapter.validate_python(adapter.dump_python(found, mode="json")) == found


def test_a_name_server_may_be_made_of_an_address() -> None:
    assert DnsConfig(servers=[TcpAddress("::1", 53)]) == DnsConfig(servers=["::1"])


def test_who_judges_is_a_choice_of_four() -> None:
    assert [str(each) for each in SubmissionAuth] == ["imap", "pop3", "replay", "file"]


EVERY_KEY = """
[[listener]]
protocol = "smtp"
role = "mx"
bind = ["0.0.0.0:25"]
tls = "starttls"
require_tls = false
[[listener]]
protocol = "smtp"
role = "submission"
bind = ["0.0.0.0:465"]
tls = "implicit"
[smtp]
hostname = "mx.example"
max_message_size = "25M"
max_recipients = 100
max_errors = 20
command_timeout = "5m"
data_timeout = "3m"
bare_newline = "normalize"
strict_sync = true
greet_delay = "0s"
early_talker = "log"
reject_at = "rcpt"
[smtp.mx]
local_domains = ["example.org"]
profile = "standard"
dry_run = false
exempt_networks = []
exempt_recipients = ["postmaster", "abuse"]
trusted_forwarders = { networks = [], ptr_suffixes = [] }
[smtp.mx.identity]
no_ptr = "tag"
not_confirmed = "tag"
helo_mismatch = "tag"
both = "reject"
temperror = "tag"
impersonation = "reject"
not_fqdn = "tag"
relaxed = true
deadline = "5s"
[smtp.mx.spf]
fail = "reject"
softfail = "tag"
permerror = "tag"
temperror = "tag"
helo = "tag"
explanation = false
deadline = "20s"
[smtp.submission]
auth = "imap"
mechanisms = ["PLAIN", "LOGIN"]
sender_login = "off"
max_auth_failures = 3
[backend.smtp]
address = "10.0.0.5:25"
tls = "off"
identity = "xclient"
identity_required = true
login = "xclient"
[backend.imap]
address = "10.0.0.5:143"
[limits]
message_rate = "none"
recipient_rate = "none"
[dns]
servers = []
timeout = "2s"
cache_entries = 10000
max_ttl = "1h"
"""


def test_the_defaults_may_be_written_out(load: Load) -> None:
    """Written with their defaults, the keys of the checks change nothing but what is said of being relaxed."""
    config = load(TLS + EVERY_KEY)
    assert config.smtp is not None
    assert config.smtp.mx is not None
    assert config.smtp.max_message_size == 25_000_000
    bare = SmtpConfig.model_validate(
        {"hostname": "mx.example", "mx": {"local_domains": ["example.org"]}, "submission": {}}
    )
    assert bare.mx is not None
    assert config.smtp.model_copy(update={"mx": None}) == bare.model_copy(update={"mx": None})
    assert config.smtp.mx.is_relaxed is bare.mx.is_relaxed
    assert config.dns == DnsConfig()


@pytest.mark.parametrize(
    ("text", "size"), [("100K", 100_000), ("25M", 25_000_000), ("1G", 1_000_000_000), ("25MiB", 26_214_400)]
)
def test_a_letter_alone_is_a_unit(load: Load, text: str, size: int) -> None:
    config = load(TLS + BACKEND + NAME + f'max_message_size = "{text}"\n' + MX)
    assert config.smtp is not None
    assert config.smtp.max_message_size == size
