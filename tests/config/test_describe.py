"""The commented reference."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.config.describe import describe, example_at, reference, section_at, toml_value
from tlsproxy.config.model import Config, Section

Load = Callable[..., Config]

SHIPPED = Path(__file__).parents[2] / "deploy" / "tlsproxy.toml"


def test_the_shipped_reference_is_the_models() -> None:
    hint = "it is generated: tlsproxy config > deploy/tlsproxy.toml"
    assert SHIPPED.read_text() == reference(), hint


def test_every_key_and_every_default_is_in_it() -> None:
    lines = reference().splitlines()
    for name in Config.model_fields:
        for key in section_at((name,)).model_fields:
            assert any(re.match(rf"(#|# For example: |){key} = ", line) for line in lines), f"{name}.{key}"


def test_it_loads_as_it_stands_and_with_every_default_uncommented(load: Load) -> None:
    plain = load(reference())
    uncommented = re.sub(r"(?m)^#(?=[\w\[])", "", reference())
    assert len(tomllib.loads(uncommented)["listener"]) == 4
    assert load(uncommented) == plain
    assert plain.listener == Config.model_validate({"tls": plain.tls, "backend": plain.backend}).listener


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


@pytest.mark.parametrize("text", [FULL, FULL.replace('"5/2s"\nconnection_burst = 9', '"none"')])
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
    for name in Config.model_fields:
        section = section_at((name,))
        assert issubclass(section, Section)
        required = {key: example_at((name, key)) for key, field in section.model_fields.items() if field.is_required()}
        for key, field in section.model_fields.items():
            if field.examples:
                tls = {"tls": "implicit"} if name == "backend" else {}
                assert section.model_validate({**required, **tls, key: field.examples[0]})
