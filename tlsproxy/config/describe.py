"""The model told in the words of the file: the commented reference, and what a key's neighbours and examples are.

Must not read or write files. A line that begins with "# " is for people; one that begins with "#" and no space is a
key at its default, ready to be uncommented.
"""

import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel

from tlsproxy.config.model import BackendConfig, Config, ListenerConfig, with_listeners

_LINE_CHARS: Final = 100
_HEAD: Final = """\
The configuration of tlsproxy: every key, its default and the reason for it.

A key behind "#" is at its default, a table behind "#" is not there. Durations are written "500ms", "10s", "5m",
"1h30m"; sizes "512B", "64KiB", "25MB". Paths that do not begin with "/" are relative to the folder of this file. Every
key can be set from outside as well: TLSPROXY__LIMITS__TOTAL=2000, or
TLSPROXY__LISTENER__0__BIND='["127.0.0.1:1993"]' for the first [[listener]].

`tlsproxy check -c FILE` tells every mistake at once. Enough to start is [tls] with certificates and [backend.imap] with
address."""
_DERIVED: Final = (
    "The following are what you get. To change one of them, write all of those that you want: the first [[listener]] "
    "that is written replaces them all."
)

Table = Mapping[str, Any]
"""A section as TOML values; Any because a value may be of any shape."""


def reference() -> str:
    """The commented reference: a configuration that only needs its paths and addresses set."""
    return describe(
        Config.model_validate(
            {
                "tls": {"certificates": example_at(("tls", "certificates"))},
                "backend": {"imap": {"address": "127.0.0.1:1143"}, "pop3": {"address": "127.0.0.1:1110"}},
            }
        )
    )


def describe(config: Config) -> str:
    """A configuration as a file with every key; loads back as the same configuration.

    Args:
        config: Any configuration.

    Returns:
        TOML, where keys at their default are commented out.
    """
    data = config.model_dump(mode="json")
    parts = [_comment(_HEAD)]
    for name in Config.model_fields:
        if name == "listener":
            parts.append(_listeners(config, data[name]))
        elif name == "backend":
            parts.append(_backends(data[name]))
        else:
            parts += _tables(name, section_at((name,)), data[name])
    return "\n\n".join(parts) + "\n"


def _listeners(config: Config, tables: list[Table]) -> str:
    """The listeners, commented out where they are those that come by themselves."""
    derived = with_listeners({"backend": config.backend, "smtp": config.smtp})["listener"]
    is_derived = tuple(map(ListenerConfig.model_validate, derived)) == config.listener
    blocks = [_comment(_doc(ListenerConfig))]
    if is_derived:
        blocks[0] += "\n" + _comment(_DERIVED)
    mark = "#" if is_derived else ""
    for n, table in enumerate(tables):
        lines = [f"{mark}[[listener]]"]
        for k, (key, value) in enumerate(table.items()):
            if n == 0:
                lines += [""] * (k > 0) + list(_explained(ListenerConfig, key, value, mark))
            else:
                lines += _bare(key, value, mark)
        blocks.append("\n".join(lines))
    return "\n".join([blocks[0], "\n\n".join(blocks[1:])])


def _backends(tables: Mapping[str, Table]) -> str:
    """The backends; the first explains the keys of all."""
    blocks: list[str] = []
    for name, table in tables.items():
        lines = list(_section(f"[backend.{name}]", BackendConfig, table))
        if blocks:
            lines = [line for line in lines if line and not line.startswith("#")]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _tables(name: str, model: type[BaseModel], table: Table | None) -> Iterator[str]:
    """A table and those below it; one that is not written stands there to be uncommented."""
    inner = {key: kind for key, field in model.model_fields.items() if (kind := _table_in(field.annotation))}
    shown = _sample(model) if table is None else table
    keys = {key: value for key, value in shown.items() if key not in inner}
    yield "\n".join(_section(f"[{name}]", model, keys, "#" if table is None else ""))
    for key, kind in inner.items():
        yield from _tables(f"{name}.{key}", kind, table[key] if table else None)


def _section(head: str, model: type[BaseModel], table: Table, mark: str = "") -> Iterator[str]:
    """The lines of one table, all commented out if so marked."""
    defaults = _defaults(model)
    yield _comment(_doc(model))
    yield mark + head
    for n, (key, value) in enumerate(table.items()):
        if n:
            yield ""
        yield from _explained(model, key, value, "#" if key in defaults and defaults[key] == value else mark)


def _sample(model: type[BaseModel]) -> Table:
    """A table with an example for each key that has no default."""
    defaults = _defaults(model)
    return {
        key: (field.examples or [""])[0] if field.is_required() else defaults[key]
        for key, field in model.model_fields.items()
    }


def _explained(model: type[BaseModel], key: str, value: object, mark: str) -> Iterator[str]:
    """A key with its description, or with an example where it is not set."""
    field = model.model_fields[key]
    yield _comment(field.description or "")
    if value is None:
        yield _comment(f"For example: {key} = {toml_value((field.examples or [''])[0])}")
    yield from _bare(key, value, mark)


def _bare(key: str, value: object, mark: str) -> Iterator[str]:
    """A key that is set, commented out if so marked."""
    if value is not None:
        yield f"{mark}{key} = {toml_value(value)}"


def _defaults(model: type[BaseModel]) -> Table:
    """The keys that have a default, with it, as TOML values."""
    fields = {name: field.default for name, field in model.model_fields.items() if not field.is_required()}
    return model.model_construct(None, **fields).model_dump(mode="json", include=set(fields))


def _doc(model: type[BaseModel]) -> str:
    """What a table is for."""
    return (inspect.getdoc(model) or "").replace("\n\n", " ").replace("\n", " ")


def _comment(text: str) -> str:
    """Text as lines that begin with "# ", paragraphs kept."""
    paragraphs = (textwrap.wrap(paragraph, _LINE_CHARS) or [""] for paragraph in text.split("\n\n"))
    return "\n#\n".join("\n".join(f"# {line}" for line in lines) for lines in paragraphs)


def toml_value(value: object) -> str:
    """A value as it is written behind the "=".

    Args:
        value: Anything that tomllib returns; what no TOML value is comes out readable.
    """
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())} }}"
        case _:
            return str(value)


def _quoted(text: str) -> str:
    """A basic string; what cannot be printed is escaped (TOML 1.0, "String")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def section_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that reads the table at a path; steps that name no table stay where they are."""
    section: type[BaseModel] = Config
    for step in path:
        if isinstance(step, str) and step in section.model_fields:
            section = _model_in(section.model_fields[step].annotation) or section
    return section


def sections() -> dict[str, type[BaseModel]]:
    """The tables of the file, by the way their heads are written."""
    heads = {"listener": "[[listener]]", "backend": "[backend.NAME]"}
    return {
        heads.get(name, f"[{name}]"): section
        for top in Config.model_fields
        for name, section in _below(top, section_at((top,)))
    }


def _below(name: str, section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """A table and those below it."""
    yield name, section
    for key, field in section.model_fields.items():
        if inner := _table_in(field.annotation):
            yield from _below(f"{name}.{key}", inner)


def choices_at(path: tuple[str | int, ...]) -> list[str]:
    """The words that a key, or an item of its list, may hold; empty where they are not counted."""
    while not isinstance(path[-1], str):
        path = path[:-1]
    annotation = section_at(path[:-1]).model_fields[str(path[-1])].annotation
    return [str(choice) for kind in _classes(annotation) if issubclass(kind, StrEnum) for choice in kind]


def example_at(path: tuple[str | int, ...]) -> object:
    """A value that a key may hold."""
    section, key = section_at(path[:-1]), str(path[-1])
    examples = section.model_fields[key].examples
    return examples[0] if examples else _defaults(section)[key]


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type of any shape
    """The model in a type."""
    return next((kind for kind in _classes(annotation) if issubclass(kind, BaseModel)), None)


def _table_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type of any shape
    """The model of a key that is a table of its own, ``A`` or ``A | None``; not one of a list's items."""
    is_choice = typing.get_origin(annotation) is types.UnionType
    return _model_in(annotation) if is_choice or isinstance(annotation, type) else None


def _classes(annotation: Any) -> Iterator[type]:  # noqa: ANN401 - a type of any shape
    """The classes in a type such as ``tuple[A, ...]``, ``dict[str, A]`` or ``A | None``."""
    inner = typing.get_args(annotation)
    if isinstance(annotation, type) and not inner:
        yield annotation
    for each in inner:
        yield from _classes(each)
