"""A private Postfix as the old server, in Debian's default settings: the ones that SMTP smuggling fools.

``fetch-servers`` unpacks it, since its package excludes other mail servers. Its master needs root.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from integration.realmail.backend import Account, new_account, require
from integration.realmail.cyrus import UNPACKED as CYRUS
from integration.realmail.daemon import Daemon, free_port, reachable_folder
from integration.realmail.pki import Pki
from integration.realsmtp.letters import Letter, Maildir

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
UNPACKED: Final = Path(os.environ.get("TLSPROXY_POSTFIX", _REPOSITORY / ".venv" / "postfix"))
# Users and a group that every Debian has, so that none need be made; Postfix wants them all different.
_OWNER: Final = "mail"
_GROUP: Final = "daemon"
_NOBODY: Final = "nobody"

_MAIN_CF: Final = """\
compatibility_level = 3.6
mail_owner = {owner}
setgid_group = {group}
default_privs = {nobody}
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {folder}/conf
import_environment = LD_LIBRARY_PATH={root}/usr/lib/postfix MAIL_CONFIG MAIL_LOGTAG
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
myhostname = postfix.test
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = postfix.test
virtual_mailbox_domains = example.org
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_transport = virtual
smtp_tls_CAfile = {folder}/conf/ca.pem
smtp_tls_security_level = may
smtp_tls_note_starttls_offer = yes
smtp_dns_support_level = disabled
"""
# The second serves a proxy that speaks PROXY; the third knows no IPv6, as many a Postfix; the fourth serves users; what
# the fifth takes from a sender named after a port is sent there.
_MASTER_CF: Final = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{proxy_port} inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy
127.0.0.1:{ipv4_port} inet n - n - - smtpd -o inet_protocols=ipv4
127.0.0.1:{user_port} inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes -o mynetworks=192.0.2.250
127.0.0.1:{away_port} inet n - n - - smtpd -o smtpd_sender_restrictions=check_sender_access,regexp:{folder}/conf/away
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
smtp unix - - n - - smtp
plain unix - - n - - smtp -o smtp_tls_security_level=none
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
"""
_AWAY: Final = """\
/^(smtp|plain)-([0-9]+)@/ FILTER $1:[127.0.0.1]:$2
"""
_SASL_CONF: Final = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {folder}/conf/sasldb2
"""
_FILES: Final = {
    "main.cf": _MAIN_CF,
    "master.cf": _MASTER_CF,
    "sasl/smtpd.conf": _SASL_CONF,
    "away": _AWAY,
    "dynamicmaps.cf": "",
}
_PORTS: Final = ("port", "proxy_port", "ipv4_port", "user_port", "away_port")
_QUEUES: Final = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "saved", "trace")


class Postfix:
    """A running Postfix; all that it takes goes to one maildir."""

    def __init__(self, pki: Pki) -> None:
        require(UNPACKED / "usr/lib/postfix/sbin/master", CYRUS / "usr/sbin/saslpasswd2")
        if os.geteuid():
            pytest.skip("Postfix starts as root alone")
        self.name = "postfix"
        self._numbers = {name: free_port() for name in _PORTS}
        self.port, self.proxy_port, self.ipv4_port, self.user_port, self.away_port = self._numbers.values()
        self.folder = reachable_folder(self.name)
        # A copy, because the users that it runs as may not be able to reach the repository.
        self._root = shutil.copytree(UNPACKED, self.folder / "root", symlinks=True)
        self._accounts = 0
        self._configure()
        shutil.copy(pki.ca, self.folder / "conf" / "ca.pem")
        self._mail = Maildir(self.folder / "mail")
        master = (self._root / "usr/lib/postfix/sbin/master", "-c", self.folder / "conf", "-d")
        env = {"LD_LIBRARY_PATH": str(self._root / "usr/lib/postfix")}
        self._daemon = Daemon(master, [*self._numbers.values()], self.folder, None, env)

    def letters(self) -> list[Letter]:
        """All mail that it has delivered."""
        return self._mail.letters()

    def log(self) -> str:
        """What it has written down so far."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def account(self) -> Account:
        """A new user who may send to anywhere."""
        self._accounts += 1
        account = new_account(self._accounts)
        libraries = [str(path) for lib in ("usr/lib", "lib") for path in (CYRUS / lib).glob("*-linux-gnu*")]
        database = self.folder / "conf" / "sasldb2"
        subprocess.run(
            [CYRUS / "usr/sbin/saslpasswd2", "-f", database, "-p", "-c", "-u", "postfix.test", account.user],
            input=account.password.encode(),
            env={"LD_LIBRARY_PATH": ":".join(libraries)},
            check=True,
        )
        shutil.chown(database, _OWNER)
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

    def _configure(self) -> None:
        queue, conf = self.folder / "queue", self.folder / "conf"
        for path in (conf / "sasl", queue / "pid", self.folder / "mail"):
            path.mkdir(parents=True)
        for name in (*_QUEUES, "private", "public", "maildrop"):
            (queue / name).mkdir(0o700)
            shutil.chown(queue / name, _OWNER)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            shutil.chown(queue / name, group=_GROUP)
            (queue / name).chmod(mode)
        (self.folder / "data").mkdir()
        shutil.chown(self.folder / "data", _OWNER)
        shutil.chown(self.folder / "mail", _NOBODY)
        values: dict[str, Any] = {**self._numbers, "folder": self.folder}
        entry = pwd.getpwnam(_NOBODY)
        values |= {"owner": _OWNER, "group": _GROUP, "nobody": _NOBODY, "uid": entry.pw_uid, "gid": entry.pw_gid}
        files = {
            "main.cf": _MAIN_CF,
            "master.cf": _MASTER_CF,
            "sasl/smtpd.conf": _SASL_CONF,
            "away": _AWAY,
            "dynamicmaps.cf": "",
        }
        for name, text in files.items():
            (conf / name).write_text(text.format(**values, root=self._root))
