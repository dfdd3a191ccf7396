"""A private Dovecot as the old server: plaintext IMAP and POP3 on unprivileged ports, Maildir, passwords in a file."""

from pathlib import Path
from typing import Final

from integration.realmail.backend import Account, new_account, require
from integration.realmail.daemon import Daemon, Unprivileged, free_port

PROGRAM: Final = Path("/usr/sbin/dovecot")
_PARTS: Final = (Path("/usr/lib/dovecot/imap-login"), Path("/usr/lib/dovecot/pop3-login"))

_ACCOUNTS: Final = 500

_CONFIG: Final = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop scram-sha-1 scram-sha-256
auth_failure_delay = 0
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 200
mail_fsync = never
mail_plugins = zlib
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  process_limit = 300
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  process_limit = 300
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
# All clients come from one address here; Dovecot would slow them down for each other's wrong passwords.
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_plugins = zlib imap_zlib
}}
"""


class Dovecot:
    """A running Dovecot."""

    def __init__(self) -> None:
        require(PROGRAM, *_PARTS)
        self.name = "dovecot"
        self.imap_port = free_port()
        self.pop3_port = free_port()
        who = Unprivileged()
        self._folder = who.folder(self.name)
        for name in ("run", "state", "mail"):
            (self._folder / name).mkdir()
        # Made in advance: Dovecot notices a changed file only when the clock shows another second.
        self._accounts = [new_account(number) for number in range(_ACCOUNTS)]
        users = (f"{account.user}:{{PLAIN}}{account.password}\n" for account in self._accounts)
        (self._folder / "users").write_text("".join(users))
        config = self._folder / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                folder=self._folder,
                user=who.user,
                uid=who.uid,
                gid=who.gid,
                group=who.group,
                imap_port=self.imap_port,
                pop3_port=self.pop3_port,
            )
        )
        who.give(self._folder)
        ports = (self.imap_port, self.pop3_port)
        self._daemon = Daemon((PROGRAM, "-F", "-c", config), ports, self._folder, who)

    def account(self) -> Account:
        """A new account with an empty mailbox."""
        return self._accounts.pop()

    def start(self) -> None:
        """Serve, again on the same ports."""
        self._daemon.start()

    def stop(self) -> None:
        """Stop serving, keep the data."""
        self._daemon.stop()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._daemon.discard()
