"""The profiles, cell by cell, and what is laid over them."""

import pytest

from tlsproxy.core.kinds import Mode, SmtpProfile
from tlsproxy.senders.policy import (
    IDENTITY_KEYS,
    PROFILES,
    SPF_KEYS,
    Check,
    PolicySettings,
    gravest,
    is_at_least,
    settings_for,
)

CELLS = {
    Check.NO_PTR: "tag tag reject",
    Check.NOT_CONFIRMED: "tag tag reject",
    Check.HELO_MISMATCH: "tag tag reject",
    Check.BOTH: "tag reject reject",
    Check.IDENTITY_TEMPERROR: "tag tag defer",
    Check.IMPERSONATION: "tag reject reject",
    Check.NOT_FQDN: "tag tag reject",
    Check.SPF_FAIL: "tag reject reject",
    Check.SPF_SOFTFAIL: "tag tag tag",
    Check.SPF_PERMERROR: "tag tag reject",
    Check.SPF_TEMPERROR: "tag tag defer",
    Check.SPF_HELO: "tag tag tag",
}


@pytest.mark.parametrize("check", Check)
def test_every_cell_of_the_profiles(check: Check) -> None:
    assert [PROFILES[profile][check] for profile in SmtpProfile] == CELLS[check].split()


def test_every_check_has_one_key() -> None:
    assert sorted([*IDENTITY_KEYS.values(), *SPF_KEYS.values()]) == sorted(Check)


def test_what_is_set_lies_over_the_profile() -> None:
    settings = settings_for(SmtpProfile.STRICT, {Check.NO_PTR: Mode.LOG}, is_dry_run=True, has_explanation=True)
    assert settings.modes == {**PROFILES[SmtpProfile.STRICT], Check.NO_PTR: Mode.LOG}
    assert settings.is_dry_run
    assert settings.has_explanation


@pytest.mark.parametrize(
    ("profile", "is_set", "expected"),
    [
        (SmtpProfile.OBSERVE, None, True),
        (SmtpProfile.STANDARD, None, True),
        (SmtpProfile.STRICT, None, False),
        (SmtpProfile.STRICT, True, True),
        (SmtpProfile.OBSERVE, False, False),
    ],
)
def test_only_strict_is_exact(profile: SmtpProfile, *, is_set: bool | None, expected: bool) -> None:
    assert settings_for(profile, is_relaxed=is_set).is_relaxed is expected


def test_standard_is_the_default() -> None:
    assert PolicySettings() == settings_for(SmtpProfile.STANDARD)


def test_what_is_off_needs_no_look_up() -> None:
    everything = PolicySettings()
    assert everything.needs_identity
    assert everything.needs_spf
    assert everything.needs_spf_hello
    nothing = settings_for(SmtpProfile.STANDARD, dict.fromkeys(Check, Mode.OFF))
    assert not nothing.needs_identity
    assert not nothing.needs_spf
    assert not nothing.needs_spf_hello
    only_hello = settings_for(SmtpProfile.STANDARD, dict.fromkeys(Check, Mode.OFF) | {Check.SPF_HELO: Mode.LOG})
    assert not only_hello.needs_spf
    assert only_hello.needs_spf_hello


def test_gravity() -> None:
    assert gravest() is Mode.OFF
    assert gravest(Mode.TAG, Mode.REJECT, Mode.DEFER) is Mode.REJECT
    assert is_at_least(Mode.TAG, Mode.TAG)
    assert not is_at_least(Mode.LOG, Mode.TAG)
