"""Environment variables that override keys of the file, ``TLSPROXY__SECTION__KEY``; must not judge what they set."""

import copy
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from tlsproxy.core.errors import Mistake

PREFIX: Final = "TLSPROXY__"
_SEPARATOR: Final = "__"

Path = tuple[str | int, ...]
"""Where a key is: ``("listener", 0, "bind")``."""
Table = dict[str, Any]
"""A TOML table; Any because a file may hold anything."""


def overridden(table: Table, environ: Mapping[str, str]) -> tuple[Table, dict[Path, str], list[Mistake]]:
    """Lay the environment's variables over the file.

    Args:
        table: The file as read; it stays as it is.
        environ: All variables; those that do not begin with ``TLSPROXY__`` are not ours.

    Returns:
        The table with the variables' values, where each came from (path to variable), and the variables that have
        no place in the table.
    """
    result = copy.deepcopy(table)
    origins: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    # By their numbers, so that the variables of listener 2 come before those of listener 10.
    for name in sorted((name for name in environ if name.startswith(PREFIX)), key=_steps_sortable):
        try:
            origins[_set(result, _steps(name), _value(environ[name]))] = name
        except ValueError as error:
            mistakes.append(Mistake(key=name, value="", hint=str(error)))
    return result, origins, mistakes


def _steps(name: str) -> list[str]:
    """``TLSPROXY__LISTENER__0__BIND`` as ``listener``, ``0``, ``bind``."""
    return name.removeprefix(PREFIX).lower().split(_SEPARATOR)


def _steps_sortable(name: str) -> list[tuple[int, str]]:
    """Numbers by value, before words."""
    return [(int(step), "") if _is_index(step) else (1 << 32, step) for step in _steps(name)]


def _is_index(step: str) -> bool:
    """Whether a step picks an item of a list; three digits are more listeners than ports make sense."""
    return step.isascii() and step.isdecimal() and len(step) <= 3  # noqa: PLR2004 - said above


def _value(text: str) -> object:
    """A TOML value, or else the text itself: ``4096``, ``["a", "b"]`` and ``10s`` all do what they look like."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break in the text could have made further keys.
    return table["value"] if len(table) == 1 else text


def _set(table: Table, steps: list[str], value: object) -> Path:
    """Set one value; raises ValueError where it has no place."""
    node: object = table
    path: list[str | int] = []
    for n, step in enumerate(steps):
        is_last = n == len(steps) - 1
        fresh = value if is_last else [] if _is_index(steps[n + 1]) else {}
        where = ".".join(map(str, path))
        if isinstance(node, list):
            node = _enter_list(node, step, fresh, where, replaces=is_last)
            path.append(int(step))
        elif isinstance(node, dict) and step:
            node[step] = fresh if is_last else node.get(step, fresh)
            node = node[step]
            path.append(step)
        else:
            raise ValueError(f"{where} holds a value and no keys" if step else "a name is missing between two __")
    return tuple(path)


def _enter_list(items: list[object], step: str, fresh: object, where: str, *, replaces: bool) -> object:
    """Go to one item of a list, made where it is the next one; raises ValueError."""
    if not _is_index(step):
        raise ValueError(f"{where} is a list; write the number of an item behind it, from 0")
    index = int(step)
    if index > len(items):
        raise ValueError(f"{where} has {len(items)} items, so the next one is number {len(items)}")
    if index == len(items):
        items.append(fresh)
    elif replaces:
        items[index] = fresh
    return items[index]
