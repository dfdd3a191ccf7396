"""What an MX listener asks of those who deliver: a mode for each check; must not judge anybody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tlsproxy.core.kinds import Mode, SmtpProfile


class Check(StrEnum):
    """Something that can be wrong with a client, by the name that logs use.

    In the order in which they are told: among equally grave ones the first is the reply.
    """

    IMPERSONATION = "impersonation"
    BOTH = "both"
    """Neither reverse DNS nor HELO identifies the client."""
    NO_PTR = "no_ptr"
    NOT_CONFIRMED = "not_confirmed"
    HELO_MISMATCH = "helo_mismatch"
    NOT_FQDN = "not_fqdn"
    IDENTITY_TEMPERROR = "identity_temperror"
    SPF_FAIL = "spf_fail"
    SPF_SOFTFAIL = "spf_softfail"
    SPF_PERMERROR = "spf_permerror"
    SPF_TEMPERROR = "spf_temperror"
    SPF_HELO = "spf_helo"
    """The HELO name's own SPF record denies the client."""


IDENTITY_KEYS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "no_ptr": Check.NO_PTR,
        "not_confirmed": Check.NOT_CONFIRMED,
        "helo_mismatch": Check.HELO_MISMATCH,
        "both": Check.BOTH,
        "temperror": Check.IDENTITY_TEMPERROR,
        "impersonation": Check.IMPERSONATION,
        "not_fqdn": Check.NOT_FQDN,
    }
)
"""The keys of ``[smtp.mx.identity]`` that are a mode."""

SPF_KEYS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "fail": Check.SPF_FAIL,
        "softfail": Check.SPF_SOFTFAIL,
        "permerror": Check.SPF_PERMERROR,
        "temperror": Check.SPF_TEMPERROR,
        "helo": Check.SPF_HELO,
    }
)
"""The keys of ``[smtp.mx.spf]`` that are a mode."""

# The columns are observe, standard, strict. A HELO name's SPF record is tagged even in strict: many hosts publish
# "v=spf1 -all" to say that they are no mail domain, and then say HELO with that very name.
_TABLE: Final[Mapping[Check, tuple[Mode, Mode, Mode]]] = {
    Check.IMPERSONATION: (Mode.TAG, Mode.REJECT, Mode.REJECT),
    Check.BOTH: (Mode.TAG, Mode.REJECT, Mode.REJECT),
    Check.NO_PTR: (Mode.TAG, Mode.TAG, Mode.REJECT),
    Check.NOT_CONFIRMED: (Mode.TAG, Mode.TAG, Mode.REJECT),
    Check.HELO_MISMATCH: (Mode.TAG, Mode.TAG, Mode.REJECT),
    Check.NOT_FQDN: (Mode.TAG, Mode.TAG, Mode.REJECT),
    Check.IDENTITY_TEMPERROR: (Mode.TAG, Mode.TAG, Mode.DEFER),
    Check.SPF_FAIL: (Mode.TAG, Mode.REJECT, Mode.REJECT),
    Check.SPF_SOFTFAIL: (Mode.TAG, Mode.TAG, Mode.TAG),
    Check.SPF_PERMERROR: (Mode.TAG, Mode.TAG, Mode.REJECT),
    Check.SPF_TEMPERROR: (Mode.TAG, Mode.TAG, Mode.DEFER),
    Check.SPF_HELO: (Mode.TAG, Mode.TAG, Mode.TAG),
}

PROFILES: Final[Mapping[SmtpProfile, Mapping[Check, Mode]]] = MappingProxyType(
    {
        profile: MappingProxyType({check: modes[column] for check, modes in _TABLE.items()})
        for column, profile in enumerate((SmtpProfile.OBSERVE, SmtpProfile.STANDARD, SmtpProfile.STRICT))
    }
)
"""What each profile does where no key says otherwise; every check is in every profile."""

_GRAVITY: Final = {mode: rank for rank, mode in enumerate(Mode)}


def is_at_least(mode: Mode, bound: Mode) -> bool:
    """Whether a mode is as grave as another, or graver."""
    return _GRAVITY[mode] >= _GRAVITY[bound]


def gravest(*modes: Mode) -> Mode:
    """The gravest of them; OFF of none."""
    return max(modes, key=_GRAVITY.__getitem__, default=Mode.OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What follows from each check, and how much of it is meant."""

    modes: Mapping[Check, Mode] = field(default_factory=lambda: PROFILES[SmtpProfile.STANDARD])
    """A mode for every check."""
    is_relaxed: bool = True
    """Whether HELO need only be of the same organisation as a confirmed name."""
    is_dry_run: bool = False
    """Whether nothing is deferred or rejected, only told."""
    has_explanation: bool = False
    """Whether a domain's own words are passed on to those whom it denies (RFC 7208 §6.2)."""

    @property
    def needs_identity(self) -> bool:
        """Whether reverse DNS and HELO have to be checked."""
        return any(self.modes[check] is not Mode.OFF for check in IDENTITY_KEYS.values())

    @property
    def needs_spf(self) -> bool:
        """Whether the SPF record of MAIL FROM has to be checked."""
        return any(self.modes[c] is not Mode.OFF for c in SPF_KEYS.values() if c is not Check.SPF_HELO)

    @property
    def needs_spf_hello(self) -> bool:
        """Whether the SPF record of the HELO name has to be checked."""
        return self.modes[Check.SPF_HELO] is not Mode.OFF


def settings_for(
    profile: SmtpProfile,
    modes: Mapping[Check, Mode] = MappingProxyType({}),
    *,
    is_relaxed: bool | None = None,
    is_dry_run: bool = False,
    has_explanation: bool = False,
) -> PolicySettings:
    """A profile with what was set explicitly laid over it.

    Args:
        profile: What holds for everything that is not set.
        modes: The modes that are set.
        is_relaxed: None for the profile's own: only strict is exact.
        is_dry_run: See ``PolicySettings``.
        has_explanation: See ``PolicySettings``.

    Returns:
        Settings with a mode for every check.
    """
    return PolicySettings(
        modes=MappingProxyType({**PROFILES[profile], **modes}),
        is_relaxed=profile is not SmtpProfile.STRICT if is_relaxed is None else is_relaxed,
        is_dry_run=is_dry_run,
        has_explanation=has_explanation,
    )
