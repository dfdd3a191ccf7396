"""Who workers run as: looked up, and what stands in the way is told."""

import grp
import os
import pwd

import pytest

from tlsproxy.core.errors import ConfigError
from tlsproxy.process.crew.identity import Identity, identity_of

US = pwd.getpwuid(os.geteuid())
OTHER = next(user for user in pwd.getpwall() if user.pw_uid != os.geteuid())
GROUP = next(group for group in grp.getgrall() if group.gr_gid != OTHER.pw_gid)


def hint_of(run_as: str) -> str:
    with pytest.raises(ConfigError) as caught:
        identity_of(run_as)
    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.value) == ("server.run_as", f'"{run_as}"')
    return mistake.hint


@pytest.mark.parametrize("run_as", ["", US.pw_name])
def test_nothing_to_be_changed(run_as: str) -> None:
    assert identity_of(run_as) is None


def test_user_nobody_knows() -> None:
    assert hint_of("no-such-user") == 'there is no user "no-such-user"; make it: useradd --system no-such-user'


def test_group_nobody_knows() -> None:
    hint = 'there is no group "no-such-group"; make it: groupadd --system no-such-group'
    assert hint_of(f"{OTHER.pw_name}:no-such-group") == hint
    assert hint_of(f"{US.pw_name}:no-such-group") == hint


def test_root_takes_on_a_user_with_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    user = next(user for user in pwd.getpwall() if user.pw_uid)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    assert identity_of(user.pw_name) == Identity(user_id=user.pw_uid, group_id=user.pw_gid, group_ids=groups)


def test_root_takes_on_a_user_with_one_group_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    user = next(user for user in pwd.getpwall() if user.pw_uid)
    found = identity_of(f"{user.pw_name}:{GROUP.gr_name}")
    assert found == Identity(user_id=user.pw_uid, group_id=GROUP.gr_gid, group_ids=[GROUP.gr_gid])


def test_only_root_can_become_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert hint_of("root").startswith("only root can become another user")
