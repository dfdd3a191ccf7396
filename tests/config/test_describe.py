"""The commented reference."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.config.describe import describe, example_at, reference, sections, toml_value
from tlsproxy.config.model import Config

Load = Callable[..., Config]

SHIPPED = Path(__file__).parents[2] / "deploy" / "tlsproxy.toml"


def test_the_shipped_reference_is_the_models() -> None:
    hint = "it is generated: tlsproxy config > deploy/tlsproxy.toml"
    assert SHIPPED.read_text() == reference(), hint


def test_every_key_and_every_default_is_in_it() -> None:
    lines = reference().splitlines()
    for head, section in sections().items():
        for key in section.model_fields:
            is_table = f"[{head.strip('[]')}.{key}]" in sections()
            line_of_it = rf"#?\[{head.strip('[]')}\.{key}\]" if is_table else rf"(#|# For example: |){key} = "
            assert any(re.match(line_of_it, line) for line in lines), f"{head}.{key}"


def test_it_loads_as_it_stands_and_with_every_default_uncommented(load: Load) -> None:
    plain = load(reference())
    uncommented = _uncommented(reference().partition("#[smtp]")[0])
    assert len(tomllib.loads(uncommented)["listener"]) == 4
    assert load(uncommented) == plain
    assert plain.listener == Config.model_validate({"tls": plain.tls, "backend": plain.backend}).listener


def test_smtp_only_needs_to_be_uncommented(load: Load) -> None:
    head, mark, smtp = reference().partition("#[smtp]")
    backend = '[backend.smtp]\naddress = "127.0.0.1:2525"\nlogin = "replay"\n'
    config = load(head + _uncommented(mark + smtp) + backend)
    least = "[smtp]\nhostname = 'mx.example.org'\n[smtp.mx]\nlocal_domains = ['example.org']\n[smtp.submission]\n"
    assert config == load(head + least + backend)
    assert [each.name for each in config.listener][-3:] == ["smtp", "submissions", "submission"]


def _uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?=[\w\[])", "", text)


FULL = """
[tls]
certificates = [{ chain = "/a \\"b\\"", key = "/b" }, { chain = "/c", key = "/c" }]
profile = "old"
[[listener]]
protocol = "imap"
profile = "modern"
bind = ["fd:imaps"]
[[listener]]
name = "second"
protocol = "pop3"
tls = "starttls"
backend = "imap"
[backend.imap]
address = "[::1]:1"
tls = "starttls"
ca = "/ca"
server_name = "x.example"
legacy_tls = true
[backend.other]
address = "unix:/s"
[limits]
total = 1
per_address = "none"
connection_rate = "5/2s"
connection_burst = 9
allow = ["::/0", "10.0.0.1"]
line_imap = "9999B"
[timeouts]
login = "1h0m20s"
drain = "0s"
[log]
file = "/log"
level = "debug"
[server]
workers = "auto"
loop = "uvloop"
"""
SMTP = """
[smtp]
hostname = "mx.example"
[smtp.mx]
local_domains = ["a.example", "b.example"]
profile = "strict"
trusted_forwarders = { networks = ["192.0.2.1"], ptr_suffixes = [] }
[smtp.mx.identity]
no_ptr = "defer"
relaxed = true
[smtp.mx.spf]
deadline = "30s"
[dns]
servers = ["::1", "127.0.0.1:5353"]
[[listener]]
protocol = "smtp"
role = "mx"
bind = ["127.0.0.1:25"]
[backend.smtp]
address = "127.0.0.1:2525"
identity = "xclient"
"""


@pytest.mark.parametrize("text", [FULL, FULL + SMTP, FULL.replace('"5/2s"\nconnection_burst = 9', '"none"')])
def test_any_configuration_loads_back(load: Load, text: str) -> None:
    config = load(text)
    assert load(describe(config)) == config


def test_a_configuration_whose_backend_has_another_name_loads_back(load: Load) -> None:
    listener = '[[listener]]\nprotocol = "imap"\nbackend = "old"\nbind = ["127.0.0.1:1"]\n'
    config = load(
        '[tls]\ncertificates = [{ chain = "/a", key = "/b" }]\n' + listener + '[backend.old]\naddress = "h:993"'
    )
    assert load(describe(config)) == config


def test_nothing_is_wider_than_a_screen() -> None:
    assert max(map(len, reference().splitlines())) <= 102


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), inner),
        max_leaves=6,
    )
)
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}") == {"value": value}


def test_every_example_is_right() -> None:
    """What mistakes tell people to write must not be a mistake."""
    beside = {
        ("[[listener]]", "role"): {"protocol": "smtp"},
        ("[[listener]]", "require_tls"): {"protocol": "smtp", "role": "mx"},
        ("[backend.NAME]", "ca"): {"tls": "implicit"},
        ("[backend.NAME]", "server_name"): {"tls": "implicit"},
        ("[smtp.submission]", "password_file"): {"auth": "file"},
    }
    for head, section in sections().items():
        path = head.strip("[]").split(".")
        required = {key: example_at((*path, key)) for key, field in section.model_fields.items() if field.is_required()}
        for key, field in section.model_fields.items():
            if field.examples:
                assert section.model_validate({**required, **beside.get((head, key), {}), key: field.examples[0]})
