"""A private Exim as the old server, and as a sender; it lives in a jail, since the name of its user is built in."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from integration.realmail.daemon import Daemon, free_port
from integration.realmail.pki import Pki
from integration.realsmtp.jail import make_jail, own_folder
from integration.realsmtp.letters import Letter, Maildir

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
UNPACKED: Final = Path(os.environ.get("TLSPROXY_EXIM", _REPOSITORY / ".venv" / "exim"))
_DEADLINE_S: Final = 60
_EXIM: Final = "usr/sbin/exim4"
# It stays what it is, since a file system may not let it become root again to deliver.
_OWNER: Final = 101
_CONF_FILE: Final = "etc/exim4/exim4.conf"

# Mail of the domain is taken from anybody, and mail from here for anybody: the old server that trusts the proxy.
# What is handed to it on the command line by a sender named after a port is sent there, with TLS if that is offered.
_CONF: Final = """\
primary_hostname = exim.test
spool_directory = /spool
log_file_path = /spool/log/%slog
daemon_smtp_ports = {port} : {proxy_port}
local_interfaces = 127.0.0.1
hosts_proxy = ${{if eq{{$received_port}}{{{proxy_port}}}{{127.0.0.1}}{{}}}}
host_lookup =
keep_environment =
acl_smtp_rcpt = recipient
acl_smtp_data = accept
tls_advertise_hosts =
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
pipelining_connect_advertise_hosts = *
accept_8bitmime = true
smtp_accept_max = 100
smtp_accept_max_per_connection = 10000
smtp_accept_queue_per_connection = 0
deliver_drop_privilege = true
log_selector = +smtp_protocol_error +smtp_syntax_error +incoming_port
begin acl
recipient:
  accept domains = example.org
  accept hosts = 127.0.0.1
  deny message = relay not permitted
begin routers
away:
  driver = manualroute
  condition = ${{if eq{{$received_protocol}}{{local}}}}
  senders = ^(smtp|plain)-
  route_data = 127.0.0.1
  self = send
  transport = away
box:
  driver = accept
  transport = box
begin transports
away:
  driver = smtp
  port = ${{sg{{$sender_address_local_part}}{{^[a-z]+-}}{{}}}}
  hosts_avoid_tls = ${{if match{{$sender_address_local_part}}{{^plain-}}{{*}}}}
  hosts_try_fastopen =
  tls_verify_certificates = /etc/ca.pem
  tls_verify_cert_hostnames =
box:
  driver = appendfile
  maildir_format
  directory = /mail
  create_directory
  message_prefix = "Delivered-To: $local_part@$domain\\n"
begin retry
* * F,1h,1m
"""


class Exim:
    """A running Exim; all that it takes goes to one maildir."""

    def __init__(self, pki: Pki) -> None:
        self.name = "exim"
        self.port, self.proxy_port = ports = [free_port() for _ in range(2)]
        self.jail = make_jail(self.name, UNPACKED, [_EXIM], {"Debian-exim": _OWNER})
        own_folder(self.jail / "spool", _OWNER)
        own_folder(self.jail / "mail", _OWNER)
        (self.jail / _CONF_FILE).parent.mkdir()
        (self.jail / _CONF_FILE).write_text(_CONF.format(port=self.port, proxy_port=self.proxy_port))
        shutil.copy(pki.ca, self.jail / "etc/ca.pem")
        self._mail = Maildir(self.jail / "mail")
        self._argv = ("chroot", self.jail, f"/{_EXIM}")
        self._daemon = Daemon((*self._argv, "-bdf", "-oP", "/spool/pid"), ports, self.jail, None)

    def letters(self) -> list[Letter]:
        """All mail that it has delivered."""
        return self._mail.letters()

    def log(self) -> str:
        """What it has written down so far."""
        logs = sorted((self.jail / "spool/log").glob("*log"))
        return "".join(path.read_text("utf-8", "replace") for path in logs)

    def send(self, sender: str, recipient: str, content: bytes) -> None:
        """Send a message, and wait until that is done.

        Args:
            sender: ``smtp-PORT@...`` for a port of 127.0.0.1, ``plain-PORT@...`` for the same without TLS.
            recipient: For whom.
            content: The message.
        """
        argv = (*self._argv, "-odf", "-i", "-f", sender, recipient)
        subprocess.run(argv, input=content.replace(b"\r\n", b"\n"), check=True, timeout=_DEADLINE_S)

    def start(self) -> None:
        """Serve, again on the same ports."""
        self._daemon.start()

    def stop(self) -> None:
        """Stop serving, keep the data."""
        self._daemon.stop()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._daemon.discard()
