"""From a file or the quick form's options to the model, every mistake told at once; must not print or log."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from tlsproxy.config import mistakes as words
from tlsproxy.config import rules
from tlsproxy.config.model import (
    RULES_BROKEN,
    BackendConfig,
    Config,
    ListenerConfig,
    Section,
    SmtpConfig,
    with_listeners,
)
from tlsproxy.config.overrides import Table, overridden
from tlsproxy.config.values import FOLDER
from tlsproxy.core.errors import ConfigError, Mistake

# Fifty times what a hundred listeners take: a bigger file is not the one that was meant.
_FILE_LIMIT_BYTES: Final = 1 << 20
_LINE_LIMIT_CHARS: Final = 60
_TOML_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_QUICK_OPTIONS: Final = {
    "backend.imap.address": "--imap",
    "backend.pop3.address": "--pop3",
    "tls.certificates[0].chain": "--cert",
    "tls.certificates[0].key": "--key",
}

_SectionT = TypeVar("_SectionT", bound=Section)
_Key = TypeVar("_Key")


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration file and lay the environment over it.

    Args:
        path: A TOML file; relative paths in it are relative to its folder.
        environ: Variables, of which ``TLSPROXY__SECTION__KEY`` override keys.

    Raises:
        ConfigError: With every mistake that was found.
    """
    return _validated(_parsed(path, _read(path)), path.absolute().parent, environ)


def quick_config(
    imap: str | None, pop3: str | None, cert: Path | None, key: Path | None, environ: Mapping[str, str]
) -> Config:
    """Make the configuration of the quick form: well-known ports in front of one or two backends.

    Args:
        imap: Where the old IMAP server is, as ``127.0.0.1:1143``.
        pop3: Where the old POP3 server is.
        cert: The certificate and its chain.
        key: Its private key.
        environ: As for ``load_config``.

    Raises:
        ConfigError: With every mistake, under the names of the options.
    """
    if not imap and not pop3:
        hint = "at least one is needed: the old mail server's address, as --imap 127.0.0.1:1143"
        raise ConfigError([Mistake(key="--imap, --pop3", value="", hint=hint)])
    files = {name: path for name, path in (("chain", cert), ("key", key)) if path}
    addresses = {"imap": imap, "pop3": pop3}
    table: Table = {
        "tls": {"certificates": [files]},
        "backend": {name: {"address": address} for name, address in addresses.items() if address},
    }
    try:
        return _validated(table, None, environ)
    except ConfigError as error:
        raise ConfigError([_as_option(mistake) for mistake in error.mistakes]) from None


def _as_option(mistake: Mistake) -> Mistake:
    """The same mistake under the name of the option that was given."""
    option = _QUICK_OPTIONS.get(mistake.key)
    if not option:
        return mistake
    hint = f"missing; write {option} FILE" if mistake.hint.startswith("missing") else mistake.hint
    return Mistake(key=option, value=mistake.value, hint=hint)


def _read(path: Path) -> bytes:
    """The file's bytes; raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise _whole(f"there is no file {path}; `tlsproxy config` prints one to start from") from None
    except IsADirectoryError:
        raise _whole(f"{path} is a folder; name the file in it") from None
    except PermissionError:
        raise _whole(f"{path} may not be read by this user; look at its mode and owner") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise _whole(f"{path} cannot be read: {reason}") from error
    if len(data) > _FILE_LIMIT_BYTES:
        raise _whole(f"{path} is larger than 1 MiB; is it the right file?")
    return data


def _parsed(path: Path, data: bytes) -> Table:
    """The file's keys; raises ConfigError."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _whole(
            f"{path}, line {line}: a byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _whole(f"{path}, {_syntax(str(error), text)}") from None
    except RecursionError:
        raise _whole(f"{path}: brackets are nested too deep") from None


def _syntax(message: str, text: str) -> str:
    """Where and what is no TOML, with the line as it stands there."""
    found = _TOML_PLACE.fullmatch(message)
    lines = text.splitlines()
    number = int(found[2]) if found and found[2] else max(len(lines), 1)
    what = found[1] if found else message
    line = lines[number - 1].strip()[:_LINE_LIMIT_CHARS] if number <= len(lines) else ""
    readable = "".join(c if c.isprintable() else "?" for c in line)
    return f"line {number}: no valid TOML ({what[:1].lower()}{what[1:]}): {readable}"


def _whole(hint: str) -> ConfigError:
    """One mistake of the file as a whole."""
    return ConfigError([Mistake(key="", value="", hint=hint)])


def _validated(table: Table, folder: Path | None, environ: Mapping[str, str]) -> Config:
    """The model of a table; raises ConfigError with every mistake."""
    table, origins, mistakes = overridden(table, environ)
    context = {FOLDER: folder}
    try:
        config = Config.model_validate(table, context=context)
    except ValidationError as error:
        mistakes += words.told(error, table, origins)
        if all(detail["type"] != RULES_BROKEN for detail in error.errors()):
            mistakes += _broken_rules(table, context)
        raise ConfigError(mistakes) from None
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _broken_rules(table: Table, context: Mapping[str, object]) -> list[Mistake]:
    """What the rules say of the sections that are well-formed, while others are not."""
    table = with_listeners(table)
    listeners, backends = table.get("listener", []), table.get("backend", {})
    if not isinstance(listeners, list) or not isinstance(backends, dict):
        return []
    smtp = _one(SmtpConfig, table["smtp"], context) if "smtp" in table else None
    return rules.broken(
        _well_formed(ListenerConfig, dict(enumerate(listeners)), context),
        _well_formed(BackendConfig, backends, context),
        smtp,
        is_smtp_sound=smtp is not None or "smtp" not in table,
    )


def _well_formed(
    model: type[_SectionT], tables: Mapping[_Key, object], context: Mapping[str, object]
) -> dict[_Key, _SectionT | None]:
    """Each table as its model, None where it is not well-formed; that was told already."""
    return {key: _one(model, table, context) for key, table in tables.items()}


def _one(model: type[_SectionT], table: object, context: Mapping[str, object]) -> _SectionT | None:
    """One table as its model."""
    try:
        return model.model_validate(table, context=context)
    except ValidationError:
        return None
