"""The one tree of errors that are ours; a peer's behaviour is never one of them.

TlsProxyError
├── ConfigError        the configuration is wrong; carries every mistake at once
│   └── UnavailableError   it is right, but an address cannot be had now
├── CertificateError   a certificate or key cannot be used
├── BindError          a listening socket cannot be had
│   └── NoIpv6Error    because this machine has no IPv6
├── CrewError          a worker process cannot do its work, or is not to be had
└── BackendError       the backend cannot be reached or used; carries the Reason
"""

from dataclasses import dataclass

from tlsproxy.core.outcome import Reason


class TlsProxyError(Exception):
    """Anything that tlsproxy itself raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in the configuration, told for the person who has to mend it."""

    key: str
    """The key's path, as ``listener[0].bind``; empty for the file as a whole."""
    value: str
    """The value found, shortened; empty where there is none to show."""
    hint: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        """``key = value: hint`` on one line."""
        found = f" = {self.value}" if self.value else ""
        return f"{self.key}{found}: {self.hint}" if self.key else self.hint


class ConfigError(TlsProxyError):
    """The configuration cannot be used."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        """Take every mistake that was found, in the order of the file."""
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class UnavailableError(ConfigError):
    """Nothing is wrong with the configuration, but an address in it cannot be had now; another try may work."""


class CertificateError(TlsProxyError):
    """A certificate or its key cannot be used; the text says why and names the file."""


class BindError(TlsProxyError):
    """A listening socket cannot be had; the text names the address and the way out."""


class NoIpv6Error(BindError):
    """Every IPv6 address was asked for, and this machine has none: there is nobody to be missed."""


class CrewError(TlsProxyError):
    """A worker process cannot do its work, or is not to be had."""


class BackendError(TlsProxyError):
    """The backend cannot be reached or used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Take the reason for the log and the client, and a detail for the log alone."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
