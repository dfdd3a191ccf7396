"""A private OpenSMTPD as the old server; it lives in a jail, since its paths and users are built in."""

import os
from pathlib import Path
from typing import Final

from integration.realmail.daemon import Daemon, free_port
from integration.realsmtp.jail import make_jail, own_folder
from integration.realsmtp.letters import Letter, Maildir

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
UNPACKED: Final = Path(os.environ.get("TLSPROXY_OPENSMTPD", _REPOSITORY / ".venv" / "opensmtpd"))
_SMTPD: Final = "usr/sbin/smtpd"
# The shell starts what puts mail into a maildir.
_PROGRAMS: Final = (_SMTPD, "usr/sbin/smtpctl", "usr/libexec/opensmtpd/mail.maildir", "bin/sh")
_MAIL: Final = 103
_USERS: Final = {"opensmtpd": 101, "opensmtpq": 102, "mail": _MAIL}

# Mail of the domain is taken from anybody, and mail from here for anybody: the old server that trusts the proxy.
_CONF: Final = """\
listen on 127.0.0.1 port {port} hostname opensmtpd.test
listen on 127.0.0.1 port {proxy_port} hostname opensmtpd.test proxy-v2
action "box" maildir "/mail" virtual {{ "@" = mail }}
match from any for domain "example.org" action "box"
match from src 127.0.0.1 for any action "box"
"""


class OpenSmtpd:
    """A running OpenSMTPD; all that it takes goes to one maildir."""

    def __init__(self) -> None:
        self.name = "opensmtpd"
        self.port, self.proxy_port = ports = [free_port() for _ in range(2)]
        self.jail = make_jail(self.name, UNPACKED, _PROGRAMS, _USERS)
        own_folder(self.jail / "var/lib/opensmtpd/empty", 0)
        own_folder(self.jail / "var/run", 0)
        own_folder(self.jail / "var/spool/smtpd", 0, 0o711)
        own_folder(self.jail / "mail", _MAIL)
        (self.jail / "etc/smtpd.conf").write_text(_CONF.format(port=self.port, proxy_port=self.proxy_port))
        self._mail = Maildir(self.jail / "mail")
        argv = ("chroot", self.jail, f"/{_SMTPD}", "-dv", "-f", "/etc/smtpd.conf")
        self._daemon = Daemon(argv, ports, self.jail, None)

    def letters(self) -> list[Letter]:
        """All mail that it has delivered."""
        return self._mail.letters()

    def log(self) -> str:
        """What it has said so far."""
        return self._daemon.output()

    def start(self) -> None:
        """Serve, again on the same ports."""
        self._daemon.start()

    def stop(self) -> None:
        """Stop serving, keep the data."""
        self._daemon.stop()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._daemon.discard()
