"""What a worker needs to serve, made by the supervisor and read by the worker out of a memory file.

Keys go this way and no other: no worker reads a file of the administrator's, and none needs the right to.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from tlsproxy.config.model import Config
from tlsproxy.net.tls.certs import Certificate, Stamp
from tlsproxy.net.tls.memory import write_memory
from tlsproxy.senders.passwords.book import PasswordBook

_UNKNOWN: Final[Stamp] = (0, 0, 0, 0)  # files are the supervisor's to watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """A configuration with what its files hold."""

    config: Config
    certificates: Sequence[Certificate]
    authorities: Mapping[str, bytes]
    """What stands in the CA files, by the backend's name, of those that have one."""
    passwords: PasswordBook | None = None
    """Who may send, where a file says so."""
    backends: Mapping[str, int]
    """A number for each backend's name; another number is another backend, even under the same name."""

    @property
    def listeners(self) -> Sequence[str]:
        """The listeners' names, in the order in which messages number them."""
        return [listener.name for listener in self.config.listener]

    def write(self) -> int:
        """Make the memory file; returns its descriptor.

        Raises:
            OSError: There is no descriptor or no memory for it.
        """
        return write_memory("supply", orjson.dumps(self._as_json()))

    def _as_json(self) -> dict[str, object]:
        return {
            "config": self.config.model_dump(mode="json"),
            "certificates": [_certificate_as_json(certificate) for certificate in self.certificates],
            "authorities": {name: pem.decode("latin-1") for name, pem in self.authorities.items()},
            "passwords": self.passwords.as_json() if self.passwords is not None else None,
            "backends": dict(self.backends),
        }


def read_supply(fd: int) -> Supply:
    """Read a memory file, whoever else has its descriptor, and close ours.

    Raises:
        OSError: It is no such file.
    """
    try:
        given = orjson.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    finally:
        os.close(fd)
    return Supply(
        config=Config.model_validate(given["config"]),
        certificates=[_certificate_from_json(one) for one in given["certificates"]],
        authorities={name: pem.encode("latin-1") for name, pem in given["authorities"].items()},
        passwords=PasswordBook.from_json(given["passwords"]) if given["passwords"] is not None else None,
        backends=given["backends"],
    )


def _certificate_as_json(certificate: Certificate) -> dict[str, object]:
    return {
        "chain_file": str(certificate.chain_file),
        "names": certificate.names,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "chain_pem": certificate.chain_pem.decode("ascii"),
        "key_pem": certificate.key_pem.decode("latin-1"),
    }


def _certificate_from_json(given: dict[str, Any]) -> Certificate:  # Any: JSON of our own making
    return Certificate(
        chain_file=Path(given["chain_file"]),
        names=tuple(given["names"]),
        not_before=datetime.fromisoformat(given["not_before"]),
        not_after=datetime.fromisoformat(given["not_after"]),
        warnings=(),
        chain_pem=given["chain_pem"].encode("ascii"),
        key_pem=given["key_pem"].encode("latin-1"),
        stamps=(_UNKNOWN, _UNKNOWN),
    )
