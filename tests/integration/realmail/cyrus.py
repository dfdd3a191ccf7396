"""A private Cyrus as the old server: plaintext IMAP and POP3 on unprivileged ports, accounts in a sasldb.

Debian's package excludes Dovecot's; ``fetch-servers`` unpacks it into a folder of its own, from where it runs.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from integration.realmail.backend import Account, new_account, require
from integration.realmail.daemon import Daemon, Unprivileged, free_port

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
UNPACKED: Final = Path(os.environ.get("TLSPROXY_CYRUS", _REPOSITORY / ".venv" / "cyrus"))
_LIBRARIES: Final = ("usr/lib", "lib")

_IMAPD_CONF: Final = """\
configdirectory: {folder}/conf
partition-default: {folder}/spool
defaultpartition: default
sievedir: {folder}/sieve
cyrus_user: {user}
servername: cyrus.test
admins: cyrus
allowplaintext: yes
allowapop: yes
failedloginpause: 0
sasl_mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
autocreate_quota: 0
altnamespace: yes
unixhierarchysep: yes
munge8bit: no
maxmessagesize: 104857600
"""
_CYRUS_CONF: Final = """\
START {{
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {folder}/imapd.conf" listen="127.0.0.1:{imap_port}" prefork=0
  pop3 cmd="{programs}/pop3d -C {folder}/imapd.conf" listen="127.0.0.1:{pop3_port}" prefork=0
}}
DAEMON {{
  idled cmd="{programs}/idled -C {folder}/imapd.conf"
}}
"""


class Cyrus:
    """A running Cyrus."""

    def __init__(self) -> None:
        require(UNPACKED / "usr/lib/cyrus/bin/imapd", UNPACKED / "usr/sbin/saslpasswd2")
        self.name = "cyrus"
        self.imap_port = free_port()
        self.pop3_port = free_port()
        self._who = Unprivileged()
        self._folder = self._who.folder(self.name)
        # A copy, because the user that the server runs as may not be able to reach the repository.
        self._root = shutil.copytree(UNPACKED, self._folder / "root", symlinks=True)
        self._env = {"LD_LIBRARY_PATH": ":".join(str(path) for path in self._library_folders())}
        self._accounts = 0
        self._configure()
        self._who.give(self._folder)
        programs = self._root / "usr/lib/cyrus/bin"
        configs = ("-C", self._folder / "imapd.conf", "-M", self._folder / "cyrus.conf")
        argv = (programs / "master", *configs, "-p", self._folder / "master.pid", "-D")
        self._daemon = Daemon(argv, (self.imap_port, self.pop3_port), self._folder, self._who, self._env)

    def _library_folders(self) -> list[Path]:
        return [path for lib in _LIBRARIES for path in (self._root / lib).glob("*-linux-gnu*")]

    def _configure(self) -> None:
        for name in ("conf/proc", "conf/socket", "conf/db", "conf/log", "conf/msg", "spool", "sieve"):
            (self._folder / name).mkdir(parents=True)
        values = {
            "folder": self._folder,
            "programs": self._root / "usr/lib/cyrus/bin",
            "user": self._who.user,
            "imap_port": self.imap_port,
            "pop3_port": self.pop3_port,
        }
        (self._folder / "imapd.conf").write_text(_IMAPD_CONF.format(**values))
        (self._folder / "cyrus.conf").write_text(_CYRUS_CONF.format(**values))

    def account(self) -> Account:
        """A new account; Cyrus makes the mailbox at the first login."""
        self._accounts += 1
        account = new_account(self._accounts)
        database = self._folder / "sasldb2"
        subprocess.run(  # type: ignore[call-overload]  # options by dict
            [self._root / "usr/sbin/saslpasswd2", "-f", database, "-p", "-c", "-u", "cyrus.test", account.user],
            input=account.password.encode(),
            env=self._env,
            check=True,
            **self._who.popen_options(),
        )
        return account

    def start(self) -> None:
        """Serve, again on the same ports."""
        self._daemon.start()

    def stop(self) -> None:
        """Stop serving, keep the data."""
        self._daemon.stop()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._daemon.discard()
