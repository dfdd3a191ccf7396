"""Who a worker runs as: looked up by the supervisor, taken on by the kernel between fork and exec."""

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass

from tlsproxy.core.errors import ConfigError, Mistake

_KEY = "server.run_as"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user with groups."""

    user_id: int
    group_id: int
    group_ids: Sequence[int]
    """Supplementary groups."""


def identity_of(run_as: str) -> Identity | None:
    """Look up ``USER`` or ``USER:GROUP``.

    Args:
        run_as: The configuration's value; empty for who we are.

    Returns:
        Who to be, or None where nothing is to be changed.

    Raises:
        ConfigError: There is no such user or group, or only root could become it.
    """
    if not run_as:
        return None
    user, _, group = run_as.partition(":")
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        raise _mistake(run_as, f'there is no user "{user}"; make it: useradd --system {user}') from None
    try:
        group_id = grp.getgrnam(group).gr_gid if group else known.pw_gid
    except KeyError:
        raise _mistake(run_as, f'there is no group "{group}"; make it: groupadd --system {group}') from None
    if os.geteuid() == known.pw_uid:
        return None
    if os.geteuid() != 0:
        raise _mistake(run_as, "only root can become another user; start tlsproxy as root, or as this user without it")
    group_ids = [group_id] if group else os.getgrouplist(user, group_id)
    return Identity(user_id=known.pw_uid, group_id=group_id, group_ids=group_ids)


def _mistake(value: str, hint: str) -> ConfigError:
    return ConfigError([Mistake(key=_KEY, value=f'"{value}"', hint=hint)])
