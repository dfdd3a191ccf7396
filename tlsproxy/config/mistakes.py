"""Validation errors told to the administrator: which key, what stands there, what would be right; must not validate.

No text of pydantic's reaches the administrator; where a type of error is added to the model, it is given words here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tlsproxy.config.describe import choices_at, example_at, section_at, sections, toml_value
from tlsproxy.config.model import RULES_BROKEN
from tlsproxy.config.overrides import Path, Table
from tlsproxy.config.rules import nearest
from tlsproxy.config.smtp.mx import OPEN_RELAY
from tlsproxy.core.errors import Mistake
from tlsproxy.core.text import printable

_VALUE_LIMIT_CHARS: Final = 60
# TOML 1.0, "Keys".
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# What pydantic puts behind the key of a dict when the key itself is wrong.
_KEY_ITSELF: Final = "[key]"


def told(error: ValidationError, table: Table, origins: Mapping[Path, str]) -> list[Mistake]:
    """Every validation error as a mistake, in the order of the file.

    Args:
        error: What the model said.
        table: What it was given.
        origins: The paths that the environment set, and the variables that did.
    """
    # A list of nothing but mistakes is called too short as well; its items are told already.
    details = [each for each in error.errors(include_url=False) if each["type"] != "too_short" or not each["input"]]
    details.sort(key=lambda detail: _place(detail["loc"], table))
    return [mistake for detail in details for mistake in _told(detail, origins)]


def _told(detail: ErrorDetails, origins: Mapping[Path, str]) -> Iterator[Mistake]:
    """One error; that of the rules is many mistakes."""
    if detail["type"] == RULES_BROKEN:
        yield from detail["ctx"]["mistakes"]
        return
    path = detail["loc"][:-1] if detail["loc"][-1:] == (_KEY_ITSELF,) else detail["loc"]
    word = _WORDS.get(detail["type"], _other)
    origin = next((f" (set by {name})" for where, name in origins.items() if path[: len(where)] == where), "")
    has_value = detail["type"] != "missing" and detail["loc"] == path
    value = shortened(detail["input"]) if has_value else ""
    yield Mistake(key=key_path(path), value=value, hint=printable(word(path, detail)) + origin)


def key_path(path: Path) -> str:
    """``listener[0].bind[1]``."""
    steps = (step if isinstance(step, int) or _BARE_KEY.fullmatch(step) else toml_value(step) for step in path)
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def shortened(value: object) -> str:
    """A value as the file has it, cut to what a line holds; nothing for a table."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        return ""
    text = toml_value(value)
    return text if len(text) <= _VALUE_LIMIT_CHARS else text[: _VALUE_LIMIT_CHARS - 3] + "..."


def _place(path: Path, table: Table) -> list[int]:
    """Where in the file a path is; what is not there comes after its neighbours."""
    node: object = table
    place: list[int] = []
    for step in path:
        if isinstance(node, dict):
            keys = list(node)
            place.append(keys.index(step) if step in keys else len(keys))
            node = node.get(step)
        elif isinstance(node, list) and isinstance(step, int):
            place.append(step)
            node = node[step] if step < len(node) else None
    return place


def _missing(path: Path, _: ErrorDetails) -> str:
    """A key that has no default."""
    if path == ("tls",):
        return f"missing; write [tls] and below it {_example(('tls', 'certificates'))}"
    return f"missing; write {_example(path)}{_why(path)}"


def _unknown(path: Path, _: ErrorDetails) -> str:
    """A key that nobody reads: a slip of the pen, or one that belongs elsewhere."""
    key = str(path[-1])
    here = list(section_at(path[:-1]).model_fields)
    elsewhere = [name for name, section in sections().items() if key in section.model_fields]
    if elsewhere:
        return f"unknown key here; it belongs to {' or '.join(elsewhere)}"
    if near := nearest(key, here):
        return f"unknown key; {near}"
    return f"unknown key; known here are {', '.join(here)}"


def _no_choice(path: Path, detail: ErrorDetails) -> str:
    """A word that is not in the list."""
    choices = choices_at(path)
    listed = " or ".join([", ".join(f'"{choice}"' for choice in choices[:-1]), f'"{choices[-1]}"'])
    near = nearest(str(detail["input"]), choices)
    return f"{near} It is {listed}" if near else f"write {listed}"


def _no_table(path: Path, detail: ErrorDetails) -> str:
    """A single value or a list where keys belong."""
    fields = section_at(path).model_fields
    required = [name for name, field in fields.items() if field.is_required()]
    keys = ", ".join(_example((*path, name)) for name in required or [next(iter(fields))])
    if path[:2] == ("tls", "certificates"):
        return f"write {{ {keys} }}"
    if path[0] == "listener":
        return f"write [[listener]] and below it {keys}"
    brackets = f"[{key_path(path)}]"
    if isinstance(detail["input"], list):
        return f"there is only one; write {brackets} in single brackets"
    return f"write {brackets} and below it {'' if required else 'its keys, as '}{keys}"


def _no_tables(_: Path, __: ErrorDetails) -> str:
    """Something else where the backends belong."""
    return f"write [backend.imap] and below it {_example(('backend', 'imap', 'address'))}"


def _no_list(path: Path, detail: ErrorDetails) -> str:
    """One value where a list belongs."""
    if path == ("listener",):
        return "write [[listener]] in double brackets, once for each"
    if path == ("tls", "certificates"):
        return f"write a list: {_example(path)}"
    return f"write a list: {path[-1]} = [{toml_value(detail['input'])}]"


def _example(path: Path) -> str:
    """A line that would be right."""
    return f"{path[-1]} = {toml_value(example_at(path))}"


def _too_few(path: Path, _: ErrorDetails) -> str:
    """An empty list."""
    if path[-1] == "bind":
        return f"write at least one, or leave {path[-1]} out"
    return f"write at least one{_why(path)}"


def _why(path: Path) -> str:
    """The danger that a key without default keeps away."""
    return f": {OPEN_RELAY}" if path == ("smtp", "mx", "local_domains") else ""


def _own_words(_: Path, detail: ErrorDetails) -> str:
    """What our own validators said."""
    return str(detail["ctx"]["error"])


def _other(_: Path, detail: ErrorDetails) -> str:
    """A type of error that nobody gave words to yet."""
    return detail["msg"]


_WORDS: Final[Mapping[str, Callable[[Path, ErrorDetails], str]]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "enum": _no_choice,
    "model_type": _no_table,
    "dict_type": _no_tables,
    "tuple_type": _no_list,
    "too_short": _too_few,
    "value_error": _own_words,
}
