"""Mistakes in SMTP's tables as the administrator reads them."""

from collections.abc import Callable

import pytest

Told = Callable[..., list[str]]

TLS = '[tls]\ncertificates = [{ chain = "a", key = "b" }]\n'
BACKEND = '[backend.smtp]\naddress = "127.0.0.1:2525"\n'
NAME = '[smtp]\nhostname = "mx.example.org"\n'
MX = '[smtp.mx]\nlocal_domains = ["example.org"]\n'
SUBMISSION = '[smtp.submission]\nauth = "replay"\n'
RELAY = "without it anyone could send mail to anywhere through this machine, an open relay"


def test_every_mistake_at_once(told: Told) -> None:
    text = """
[backend.smtp]
address = "127.0.0.1:2525"
identity = "xclent"
[smtp]
hostname = "mail"
max_message_size = "1KiB"
max_recipients = 99
command_timeout = 300
greet_delay = "soon"
early_talker = "kill"
mx_profile = "strict"
[smtp.mx]
local_domains = ["b\u00fccher.example", "192.0.2.1", "a b", 5]
exempt_recipients = ["a b"]
trusted_forwarders = { networks = ["x"], ptr_suffixes = ["*.example"] }
[smtp.mx.identity]
no_ptr = "rejct"
relaxed = "yes"
softfail = "tag"
[smtp.mx.spf]
fail = "ignore"
[smtp.submission]
auth = "ldap"
mechanisms = ["PLAIN", "CRAM-MD5"]
cache = "2m"
[dns]
servers = ["localhost", "127.0.0.1:0", "fd:dns"]
"""
    modes = '"off", "log", "tag", "defer" or "reject"'
    server = 'write the address of a name server, as "127.0.0.1", "127.0.0.1:5353" or "[::1]:5353"'
    here = (
        "unknown key; known here are hostname, max_message_size, max_recipients, max_errors, command_timeout, "
        "data_timeout, data_reply_timeout, bare_newline, strict_sync, greet_delay, early_talker, reject_at, mx, "
        "submission"
    )
    recipient = 'write a recipient as "postmaster", for all local domains, or "postmaster@example.org"'
    assert told(TLS + text) == [
        'backend.smtp.identity = "xclent": did you mean "xclient"? It is "xclient", "proxy-v1", "proxy-v2" or "none"',
        'smtp.hostname = "mail": other mail servers look this name up; write it in full, as "mail.example.org"',
        'smtp.max_message_size = "1KiB": must be at least "64KiB", which RFC 5321 §4.5.3.1.7 asks every server to take',
        "smtp.max_recipients = 99: must be at least 100, which RFC 5321 §4.5.3.1.8 asks every server to take",
        'smtp.command_timeout = 300: a unit is missing; write "300s" for seconds or "300m" for minutes',
        'smtp.greet_delay = "soon": write a duration as "500ms", "10s", "5m" or "1h30m"',
        'smtp.early_talker = "kill": write "off", "log" or "drop"',
        f'smtp.mx_profile = "strict": {here}',
        'smtp.mx.local_domains[0] = "bücher.example": write the domain in its ASCII form, which begins with "xn--"',
        'smtp.mx.local_domains[1] = "192.0.2.1": write a domain as "example.org"',
        'smtp.mx.local_domains[2] = "a b": write a domain as "example.org"',
        'smtp.mx.local_domains[3] = 5: write it in quotes, as "example.org"',
        f'smtp.mx.exempt_recipients[0] = "a b": {recipient}',
        (
            'smtp.mx.trusted_forwarders.networks[0] = "x": write a network as "192.0.2.0/24" or "2001:db8::/32", or '
            "one address"
        ),
        'smtp.mx.trusted_forwarders.ptr_suffixes[0] = "*.example": write a domain as "example.org"',
        f'smtp.mx.identity.no_ptr = "rejct": did you mean "reject"? It is {modes}',
        'smtp.mx.identity.relaxed = "yes": write true or false, without quotes',
        'smtp.mx.identity.softfail = "tag": unknown key here; it belongs to [smtp.mx.spf]',
        f'smtp.mx.spf.fail = "ignore": write {modes}',
        'smtp.submission.auth = "ldap": write "imap", "pop3", "replay" or "file"',
        'smtp.submission.mechanisms[1] = "CRAM-MD5": write "PLAIN" or "LOGIN"',
        'smtp.submission.cache = "2m": must be at most "60s": so long does a withdrawn password go on being right',
        *(f'dns.servers[{n}] = "{text}": {server}' for n, text in enumerate(["localhost", "127.0.0.1:0", "fd:dns"])),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BACKEND + "[smtp]\n", 'smtp.hostname: missing; write hostname = "mx.example.org"'),
        (
            BACKEND + NAME + "[smtp.mx]\n",
            f'smtp.mx.local_domains: missing; write local_domains = ["example.org"]: {RELAY}',
        ),
        (
            BACKEND + NAME + "[smtp.mx]\nlocal_domains = []",
            f"smtp.mx.local_domains = []: write at least one: {RELAY}",
        ),
        (
            BACKEND + NAME + '[smtp.mx]\nlocal_domains = "example.org"',
            'smtp.mx.local_domains = "example.org": write a list: local_domains = ["example.org"]',
        ),
        (
            BACKEND + NAME + 'mx = "example.org"',
            'smtp.mx = "example.org": write [smtp.mx] and below it local_domains = ["example.org"]',
        ),
        (
            BACKEND + NAME + "max_message_size = true\n" + MX,
            'smtp.max_message_size = true: write it in quotes, as "25MB"',
        ),
        (
            BACKEND + NAME + 'max_message_size = "2GiB"\n' + MX,
            'smtp.max_message_size = "2GiB": must be at most "2047MiB"',
        ),
        (
            BACKEND + NAME + MX + 'exempt_recipients = ["abuse", "a@b.example"]',
            (
                "smtp.mx: a@b.example in exempt_recipients has no effect, since local_domains does not hold the "
                "domain; add it there, or remove the recipient"
            ),
        ),
        (
            BACKEND + NAME + '[smtp.submission]\nauth = "file"',
            'smtp.submission: auth = "file" needs the file; write password_file = "/etc/tlsproxy/users"',
        ),
        (
            BACKEND + NAME + '[smtp.submission]\nauth = "replay"\npassword_file = "x"\nauth_backend = "imap"',
            (
                'smtp.submission: password_file has no effect while auth is "replay"; write auth = "file"; '
                'auth_backend has no effect while auth is "replay"; write auth = "imap" or "pop3"'
            ),
        ),
        (
            BACKEND + NAME + "[smtp.submission]\nmechanisms = []",
            "smtp.submission.mechanisms = []: write at least one",
        ),
        (
            BACKEND + 'login = "xclient"\nidentity_required = false\n' + NAME + MX,
            (
                'backend.smtp: login = "xclient" goes with the client\'s address; write identity = "xclient", or login '
                '= "replay"; identity_required has no effect while identity is "none"; remove it, or write identity'
            ),
        ),
        (
            BACKEND + NAME + MX + '[[listener]]\nprotocol = "smtp"\nrole = "mx"\ntls = "implicit"',
            'listener[0]: other servers know no implicit TLS (RFC 3207); write tls = "starttls", or leave tls out',
        ),
        (
            BACKEND + NAME + MX + '[[listener]]\nprotocol = "smtp"\nrole = "relay"',
            'listener[0].role = "relay": write "mx" or "submission"',
        ),
        (
            BACKEND + NAME + SUBMISSION + '[[listener]]\nprotocol = "smtp"\nrole = "submission"\nrequire_tls = false',
            'listener[0]: require_tls is for role "mx" alone, since users never get in without TLS; remove it',
        ),
        (
            '[backend.imap]\naddress = "127.0.0.1:1143"\n[[listener]]\nprotocol = "imap"\nrole = "mx"',
            'listener[0]: role is for protocol "smtp" alone, where "imap" has but one; remove it',
        ),
        (
            '[backend.imap]\naddress = "127.0.0.1:1143"\n[dns]\ncache_entries = 0',
            "dns.cache_entries = 0: must be at least 1",
        ),
    ],
)
def test_one_mistake(told: Told, text: str, line: str) -> None:
    assert told(TLS + text)[0] == line
