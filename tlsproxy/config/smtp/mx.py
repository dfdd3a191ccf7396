"""[smtp.mx] and the tables below it: what is asked of servers that deliver; must not check anybody."""

from typing import Final, Self

from pydantic import Field, model_validator

from tlsproxy.config.sections import Section
from tlsproxy.config.smtp.values import Domain, Recipient, Suffix
from tlsproxy.config.values import Cap, Flag, NetworkValue, Seconds
from tlsproxy.core.kinds import Mode, SmtpProfile

OPEN_RELAY: Final = "without it anyone could send mail to anywhere through this machine, an open relay"
"""Why ``local_domains`` has no default."""


class TrustedForwarders(Section):
    """Servers that forward mail here for your users. SPF is not checked of them, since forwarding breaks it."""

    networks: tuple[NetworkValue, ...] = Field(
        default=(),
        description='Their addresses, as ["192.0.2.25", "2001:db8::/64"].',
    )
    ptr_suffixes: tuple[Suffix, ...] = Field(
        default=(),
        description=(
            'Ends of their host names, as ["forwarder.example"]. Only a name that reverse and forward DNS both '
            "confirm counts."
        ),
    )


class IdentityChecks(Section):
    """What follows when a client's address and its HELO name do not fit together.

    Each key is off, log, tag (the headers say so), defer (4xx, come back later) or reject (5xx). By default it is
    what [smtp.mx] profile says.
    """

    no_ptr: Mode | None = Field(
        default=None,
        description="The address has no name in reverse DNS. By default tag; strict rejects.",
        examples=["defer"],
    )
    not_confirmed: Mode | None = Field(
        default=None,
        description="None of the address's names leads back to it. By default tag; strict rejects.",
        examples=["defer"],
    )
    helo_mismatch: Mode | None = Field(
        default=None,
        description=(
            "The HELO name is neither a confirmed name of the address nor leads to it. By default tag; strict rejects, "
            "though RFC 5321 §4.1.4 forbids it and some of Microsoft 365 then stays out."
        ),
        examples=["log"],
    )
    both: Mode | None = Field(
        default=None,
        description="Neither reverse DNS nor HELO identifies the client. By default reject; observe tags.",
        examples=["defer"],
    )
    temperror: Mode | None = Field(
        default=None,
        description=(
            "DNS does not answer now. By default tag; strict defers. reject acts as defer: nobody is turned away for "
            "good because a name server is down."
        ),
        examples=["defer"],
    )
    impersonation: Mode | None = Field(
        default=None,
        description="The HELO name is this server's own name or address. By default reject; observe tags.",
        examples=["tag"],
    )
    not_fqdn: Mode | None = Field(
        default=None,
        description="The HELO name is no full name, as a desktop's. By default tag; strict rejects.",
        examples=["reject"],
    )
    relaxed: Flag | None = Field(
        default=None,
        description=(
            "Whether a HELO name also fits that has its organisation's domain in common with a confirmed name of the "
            "address, as the hosts of a pool have. By default true; false with strict."
        ),
        examples=[True],
    )
    deadline: Seconds = Field(
        default=5.0,
        description="All look-ups of these checks together; what is not known by then is a temporary error.",
    )


class SpfChecks(Section):
    """What follows from SPF (RFC 7208), by which a domain says which addresses send its mail.

    Each key is off, log, tag, defer or reject. By default it is what [smtp.mx] profile says.
    """

    fail: Mode | None = Field(
        default=None,
        description="The domain says that this address does not send its mail. By default reject; observe tags.",
        examples=["defer"],
    )
    softfail: Mode | None = Field(
        default=None,
        description="The domain says that it probably does not. By default tag.",
        examples=["log"],
    )
    permerror: Mode | None = Field(
        default=None,
        description="The domain's record is broken. By default tag; strict rejects.",
        examples=["log"],
    )
    temperror: Mode | None = Field(
        default=None,
        description=(
            "DNS does not answer now. By default tag; strict defers. reject acts as defer: nobody is turned away for "
            "good because a name server is down."
        ),
        examples=["defer"],
    )
    helo: Mode | None = Field(
        default=None,
        description="SPF of the HELO name fails, which is checked beside that of the sender. By default tag.",
        examples=["reject"],
    )
    explanation: Flag = Field(
        default=False,
        description=(
            "Pass the domain's own explanation on to a client that is refused. It is a stranger's text, shown in your "
            "name."
        ),
    )
    deadline: Seconds = Field(
        default=20.0,
        description=(
            "All look-ups of one check together; what is not known by then is a temporary error. RFC 7208 asks for at "
            "least 20 seconds."
        ),
    )


class MxConfig(Section):
    """Mail that other servers deliver on port 25. Who connects is checked before the old server sees a byte."""

    local_domains: tuple[Domain, ...] = Field(
        min_length=1,
        description=(
            "The domains whose mail is taken; to any other it is refused before the old server is asked. The old "
            "server sees tlsproxy's address on every connection and may trust it, so this list alone keeps strangers "
            "from sending to anywhere. A sub-domain is a domain of its own."
        ),
        examples=[["example.org"]],
    )
    profile: SmtpProfile = Field(
        default=SmtpProfile.STANDARD,
        description=(
            "How much is asked of a client; the tables below override it. observe only tags: start with a week of it. "
            "standard rejects what neither reverse DNS nor HELO identifies, and what SPF forbids. strict rejects each "
            "mismatch, and with it some forwarded mail and some of Microsoft 365."
        ),
    )
    dry_run: Flag = Field(
        default=False,
        description=(
            "Take all mail: each defer and reject becomes a tag, and header and log say what would have been done."
        ),
    )
    exempt_networks: tuple[NetworkValue, ...] = Field(
        default=(),
        description=(
            'Networks that none of these checks is made of, as ["192.0.2.0/24"]: your own servers, a backup MX. '
            "Private addresses are always exempt."
        ),
    )
    exempt_recipients: tuple[Recipient, ...] = Field(
        default=("postmaster", "abuse"),
        description=(
            "Recipients who get mail in spite of these checks, so that who is refused can ask why: a name for all "
            "local domains, or an address."
        ),
    )
    deliveries_per_address: Cap = Field(
        default=50,
        description=(
            "Connections to the old server at once for one client address (IPv4 address or IPv6 /64), in each worker; "
            "what is more is told to come back later (450). The old server sees tlsproxy's address alone and cannot "
            'share its places out by itself. Addresses without checks are not counted. "none" is unlimited.'
        ),
    )
    trusted_forwarders: TrustedForwarders = TrustedForwarders()
    identity: IdentityChecks = IdentityChecks()
    spf: SpfChecks = SpfChecks()

    @property
    def is_relaxed(self) -> bool:
        """``identity.relaxed``, or what the profile says."""
        return self.profile is not SmtpProfile.STRICT if self.identity.relaxed is None else self.identity.relaxed

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """Mail to other domains is refused in any case."""
        foreign = [each for each in self.exempt_recipients if not self._may_be_local(each)]
        if foreign:
            hint = "has no effect, since local_domains does not hold the domain; add it there, or remove the recipient"
            raise ValueError(f"{', '.join(foreign)} in exempt_recipients {hint}")
        return self

    def _may_be_local(self, recipient: str) -> bool:
        _, at, domain = recipient.rpartition("@")
        return not at or domain in self.local_domains
