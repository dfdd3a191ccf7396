"""From a file and the environment to the configuration."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.config.load import load_config, quick_config
from tlsproxy.config.model import Config, TcpAddress, UnixAddress
from tlsproxy.config.overrides import overridden
from tlsproxy.core.errors import ConfigError

Load = Callable[..., Config]
Told = Callable[..., list[str]]

FIVE_LINES = """
[tls]
certificates = [{ chain = "certs/mail.pem", key = "/etc/mail.key" }]
[backend.imap]
address = "127.0.0.1:1143"
"""


def test_five_lines_are_enough(load: Load, tmp_path: Path) -> None:
    config = load(FIVE_LINES)
    assert [listener.name for listener in config.listener] == ["imaps", "imap"]
    assert config.backend["imap"].address == TcpAddress("127.0.0.1", 1143)
    assert config.tls.certificates[0].chain == tmp_path / "certs/mail.pem"
    assert config.tls.certificates[0].key == Path("/etc/mail.key")


def test_every_relative_path_is_relative_to_the_folder_of_the_file(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        FIVE_LINES
        + 'tls = "implicit"\nca = "ca.pem"\n[backend.old]\naddress = "unix:old.sock"\n[log]\nfile = "mail.log"'
    )
    config = load(text)
    assert config.backend["imap"].ca == tmp_path / "ca.pem"
    assert config.backend["old"].address == UnixAddress(f"{tmp_path}/old.sock")
    assert config.log.file == f"{tmp_path}/mail.log"
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("tlsproxy.toml"), {}) == config


def test_the_environment_overrides_the_file(load: Load) -> None:
    environ = {
        "TLSPROXY__LIMITS__TOTAL": "7",
        "TLSPROXY__LIMITS__PER_ADDRESS": "none",
        "TLSPROXY__LIMITS__ALLOW": '["::1"]',
        "TLSPROXY__TIMEOUTS__LOGIN": "30s",
        "TLSPROXY__LOG__FILE": "",
        "TLSPROXY__BACKEND__IMAP__ADDRESS": "[::1]:1",
        "TLSPROXY__BACKEND__POP3__ADDRESS": "[::1]:2",
        "TLSPROXY__LISTENER__0__BIND": '["127.0.0.1:1993"]',
        "TLSPROXY__LISTENER__0__PROTOCOL": "imap",
        "TLSPROXY__TLS__CERTIFICATES__0__KEY": "/new.key",
        "TLSPROXY_CONFIG": "not ours",
    }
    config = load(FIVE_LINES + "[limits]\ntotal = 5", environ)
    assert (config.limits.total, config.limits.per_address, str(config.limits.allow[0])) == (7, None, "::1/128")
    assert config.timeouts.login == 30
    assert config.log.file == ""
    assert {name: str(backend.address) for name, backend in config.backend.items()} == {
        "imap": "[::1]:1",
        "pop3": "[::1]:2",
    }
    assert [str(bind) for listener in config.listener for bind in listener.bind] == ["127.0.0.1:1993"]
    assert config.tls.certificates[0].key == Path("/new.key")


def test_one_address_may_stand_alone(load: Load) -> None:
    config = load(FIVE_LINES + '[[listener]]\nprotocol = "imap"\nbind = "127.0.0.1:1993"')
    assert [str(address) for address in config.listener[0].bind] == ["127.0.0.1:1993"]


def test_the_environment_may_make_listeners_in_order(load: Load) -> None:
    environ = {f"TLSPROXY__LISTENER__{i}__PROTOCOL": "imap" for i in range(12)}
    environ |= {f"TLSPROXY__LISTENER__{i}__BIND": f'["127.0.0.1:{i + 1}"]' for i in range(12)}
    environ |= {f"TLSPROXY__LISTENER__{i}__NAME": f"listener-{i}" for i in range(12)}
    config = load(FIVE_LINES, environ)
    assert [listener.name for listener in config.listener] == [f"listener-{i}" for i in range(12)]


def test_a_line_break_in_a_variable_makes_no_second_key(told: Told) -> None:
    [mistake] = told(FIVE_LINES, {"TLSPROXY__SERVER__LOOP": '"auto"\nworkers = 4'})
    assert mistake.startswith('server.loop = "\\"auto\\"\\U0000000aworkers = 4": write "auto", "selector" or "uvloop"')


def test_variables_without_a_place_are_mistakes(told: Told) -> None:
    environ = {
        "TLSPROXY__LIMITS__PER_ADRESS": "5",
        "TLSPROXY__LIMITS__TOTAL__X": "5",
        "TLSPROXY__LISTENER__1__NAME": "far",
        "TLSPROXY__LISTENER__ALL__NAME": "far",
        "TLSPROXY__LISTENER__0__": "far",
        "TLSPROXY__": "far",
    }
    assert told(
        FIVE_LINES + '[limits]\ntotal = 5\n[[listener]]\nprotocol = "imap"\n',
        environ | {"TLSPROXY__LISTENER__9__NAME": "x"},
    ) == [
        "TLSPROXY__: a name is missing between two __",
        "TLSPROXY__LIMITS__TOTAL__X: limits.total holds a value and no keys",
        "TLSPROXY__LISTENER__0__: a name is missing between two __",
        "TLSPROXY__LISTENER__9__NAME: listener has 2 items, so the next one is number 2",
        "TLSPROXY__LISTENER__ALL__NAME: listener is a list; write the number of an item behind it, from 0",
        'limits.per_adress = 5: unknown key; did you mean "per_address"? (set by TLSPROXY__LIMITS__PER_ADRESS)',
        'listener[1].protocol: missing; write protocol = "imap"',
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "nothing.toml", {})
    assert str(caught.value) == f"there is no file {tmp_path}/nothing.toml; `tlsproxy config` prints one to start from"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; name the file in it$"):
        load_config(tmp_path, {})


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def _refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", _refuse)
    with pytest.raises(ConfigError, match=r"may not be read by this user; look at its mode and owner$"):
        load_config(tmp_path / "secret.toml", {})


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"^/proc/self/mem cannot be read: Input/output error$"):
        load_config(Path("/proc/self/mem"), {})
    with pytest.raises(ConfigError, match=r"cannot be read: embedded null byte$"):
        load_config(Path("a\0b"), {})


def test_a_file_without_end() -> None:
    with pytest.raises(ConfigError, match=r"^/dev/zero is larger than 1 MiB; is it the right file\?$"):
        load_config(Path("/dev/zero"), {})


@pytest.mark.parametrize(
    ("text", "told_as"),
    [
        (b"[tls]\na = = 3\n", "DIR/tlsproxy.toml, line 2: no valid TOML (invalid value): a = = 3"),
        (b"[tls]\na = 1\na = 2\n", "DIR/tlsproxy.toml, line 3: no valid TOML (cannot overwrite a value): a = 2"),
        (b"[tls", "DIR/tlsproxy.toml, line 1: no valid TOML (expected ']' at the end of a table declaration): [tls"),
        (b"[tls]\n# \xe9\n", "DIR/tlsproxy.toml, line 2: a byte 0xe9 is no UTF-8; save the file as UTF-8"),
        (b"a = " + b"[" * 5000, "DIR/tlsproxy.toml: brackets are nested too deep"),
    ],
)
def test_text_that_is_no_toml(told: Told, text: bytes, told_as: str) -> None:
    assert told(text) == [told_as]


def test_the_quick_form() -> None:
    config = quick_config("127.0.0.1:1143", "127.0.0.1:1110", Path("mail.pem"), Path("mail.key"), {})
    assert [listener.name for listener in config.listener] == ["imaps", "imap", "pop3s", "pop3"]
    assert str(config.backend["pop3"].address) == "127.0.0.1:1110"
    assert config.tls.certificates[0].chain == Path("mail.pem")


def test_the_quick_form_with_one_server_and_the_environment() -> None:
    config = quick_config(None, "unix:/run/pop3", Path("m"), Path("m"), {"TLSPROXY__LIMITS__TOTAL": "9"})
    assert list(config.backend) == ["pop3"]
    assert config.limits.total == 9


def test_mistakes_of_the_quick_form_name_the_options() -> None:
    with pytest.raises(ConfigError) as caught:
        quick_config("127.0.0.1", "localhost:110", None, Path("key"), {"TLSPROXY__LIMITS__TOTAL": "x"})
    ours = (
        "tlsproxy listens there itself (listener[3].bind[0]) and would connect to itself; move the old server elsewhere"
    )
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "--cert: missing; write --cert FILE",
        '--imap = "127.0.0.1": the port is missing; write "127.0.0.1:143"',
        'limits.total = "x": write a whole number without quotes, as 100 (set by TLSPROXY__LIMITS__TOTAL)',
        '--pop3 = "localhost:110": ' + ours,
    ]


def test_the_quick_form_needs_a_server() -> None:
    with pytest.raises(ConfigError) as caught:
        quick_config(None, None, Path("cert"), Path("key"), {})
    assert (
        str(caught.value)
        == "--imap, --pop3: at least one is needed: the old mail server's address, as --imap 127.0.0.1:1143"
    )


def test_a_variable_without_a_place_is_told_even_if_all_else_is_right(told: Told) -> None:
    assert told(FIVE_LINES, {"TLSPROXY__TLS__CERTIFICATES__X": "5"}) == [
        "TLSPROXY__TLS__CERTIFICATES__X: tls.certificates is a list; write the number of an item behind it, from 0"
    ]


def test_a_variable_may_replace_a_whole_item(load: Load, tmp_path: Path) -> None:
    config = load(FIVE_LINES, {"TLSPROXY__TLS__CERTIFICATES__0": '{ chain = "new.pem", key = "/new.key" }'})
    [files] = config.tls.certificates
    assert (files.chain, files.key) == (tmp_path / "new.pem", Path("/new.key"))


def test_the_file_is_not_changed_by_the_environment() -> None:
    table = {"limits": {"total": 5}, "listener": [{"name": "a"}]}
    result, origins, mistakes = overridden(table, {"TLSPROXY__LIMITS__TOTAL": "6", "TLSPROXY__LISTENER__0__NAME": "b"})
    assert table == {"limits": {"total": 5}, "listener": [{"name": "a"}]}
    assert result == {"limits": {"total": 6}, "listener": [{"name": "b"}]}
    assert origins == {
        ("limits", "total"): "TLSPROXY__LIMITS__TOTAL",
        ("listener", 0, "name"): "TLSPROXY__LISTENER__0__NAME",
    }
    assert mistakes == []


_STEP = st.sampled_from(["LIMITS", "LISTENER", "0", "1", "7", "TLS", "", "NAME", "\xe9"])


@given(st.dictionaries(st.lists(_STEP, min_size=1, max_size=4).map("__".join), st.text(max_size=9), max_size=5))
def test_any_environment_is_laid_over_or_told(variables: dict[str, str]) -> None:
    table = {"limits": {"total": 5}, "listener": [{"name": "a"}], "tls": 5}
    _, origins, mistakes = overridden(table, {f"TLSPROXY__{name}": value for name, value in variables.items()})
    assert len(origins) + len(mistakes) == len(variables)


def test_a_socket_whose_path_grows_too_long(told: Told) -> None:
    [mistake] = told(FIVE_LINES + f'[backend.pop3]\naddress = "unix:{"x" * 107}"')
    assert mistake.endswith('write "unix:/path" with a path of 1 to 107 bytes')
