"""Watches the served certificates: tells when one nears its end, asks for a renewal when its files change."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tlsproxy.config.model import CertificateFiles
from tlsproxy.core.events import Event
from tlsproxy.core.log import Log
from tlsproxy.net.tls.certs import Certificate, Stamp, stamp_of

_LOOK_PERIOD_S: Final = 30.0
_WARN_DAYS: Final = (21, 7, 1, 0)

Stamps = Sequence[Stamp | None]


class CertificateWatch:
    """Looks at the files every 30 s, and at the days left whenever they pass a mark."""

    def __init__(self, log: Log, renew: Callable[[], None]) -> None:
        self._log = log
        self._renew = renew
        self._certificates: Sequence[Certificate] = ()
        self._files: Sequence[CertificateFiles] = ()
        self._refused: Stamps | None = None
        self._told: dict[Path, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def change(self, certificates: Sequence[Certificate], files: Sequence[CertificateFiles]) -> None:
        """Watch these from now on."""
        known = self._certificates
        self._certificates, self._files, self._refused = certificates, files, None
        now = datetime.now(UTC)
        for certificate in certificates:
            if certificate not in known:
                self._told.pop(certificate.chain_file, None)
                self._log.info(Event.CERTIFICATE_LOADED, **_told_of(certificate, now))
        self._warn(now)
        self._wait()

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_PERIOD_S, self._look)

    def _look(self) -> None:
        self._wait()
        self._warn(datetime.now(UTC))
        served = [stamp for certificate in self._certificates for stamp in certificate.stamps]
        found = [stamp_of(path) for files in self._files for path in (files.chain, files.key)]
        if found not in (served, self._refused):
            self._refused = found  # a pair that is refused now is tried again only when it changes again
            self._renew()

    def _warn(self, now: datetime) -> None:
        for certificate in self._certificates:
            days_left = certificate.days_left(now)
            mark = min((mark for mark in _WARN_DAYS if days_left < mark), default=None)
            if mark is None or self._told.get(certificate.chain_file, _WARN_DAYS[0] + 1) <= mark:
                continue
            self._told[certificate.chain_file] = mark
            level = self._log.error if days_left < 0 else self._log.warning
            level(Event.CERTIFICATE_EXPIRING, **_told_of(certificate, now))


def _told_of(certificate: Certificate, now: datetime) -> dict[str, object]:
    return {
        "chain": str(certificate.chain_file),
        "names": list(certificate.names),
        "not_after": certificate.not_after.isoformat(),
        "days_left": certificate.days_left(now),
    }
