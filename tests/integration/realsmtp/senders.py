"""Programs and libraries that send mail, each told only where to go: nobody here wrote them."""

import asyncio
import gc
import smtplib
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiosmtplib
from integration.realmail.backend import Account, require
from integration.realmail.pki import Pki

_DEADLINE_S: Final = 60
_HOST: Final = "localhost"
_HELLO: Final = "client.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One message to be sent."""

    port: int
    pki: Pki
    recipient: str
    content: bytes
    tls: str = "starttls"
    """``none``, ``starttls`` or ``implicit``."""
    account: Account | None = None
    mechanism: str = "PLAIN"
    sender: str = "sender@remote.test"


Sender = Callable[[Order, Path], None]
"""Sends; the folder is empty and for it alone. Raises if the message was not taken."""


def swaks(order: Order, folder: Path) -> None:
    """The test tool of every postmaster."""
    tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[order.tls]
    trust = ["--tls-verify", "--tls-ca-path", order.pki.ca] if tls else []
    login: list[str] = []
    if order.account is not None:
        login = ["--auth", order.mechanism, "--auth-user", order.account.user]
        login += ["--auth-password", order.account.password]
    where = ["--server", _HOST, "--port", str(order.port), "--helo", _HELLO]
    data = _file(order.content.removesuffix(b"\r\n"), folder)  # it adds a line end of its own
    envelope = ["--from", order.sender, "--to", order.recipient, "--data", f"@{data}"]
    _run("swaks", folder, *where, *envelope, *tls, *trust, *login)


def curl(order: Order, folder: Path) -> None:
    """What many scripts and programs send with."""
    scheme = "smtps" if order.tls == "implicit" else "smtp"
    options = ["-sS", "--mail-from", order.sender, "--mail-rcpt", order.recipient]
    if order.tls != "none":
        options += ["--ssl-reqd", "--cacert", str(order.pki.ca)]
    if order.account is not None:
        options += ["--user", f"{order.account.user}:{order.account.password}"]
        options += ["--login-options", f"AUTH={order.mechanism}"]
    _run(
        "curl",
        folder,
        *options,
        "--upload-file",
        _file(order.content, folder),
        f"{scheme}://{_HOST}:{order.port}/{_HELLO}",
    )


def msmtp(order: Order, folder: Path) -> None:
    """What stands in for sendmail on many machines."""
    options = [f"--host={_HOST}", f"--port={order.port}", f"--domain={_HELLO}", f"--from={order.sender}"]
    if order.tls == "none":
        options += ["--tls=off"]
    else:
        is_starttls = "on" if order.tls == "starttls" else "off"
        options += ["--tls=on", f"--tls-starttls={is_starttls}", f"--tls-trust-file={order.pki.ca}"]
    if order.account is not None:
        options += [f"--auth={order.mechanism.lower()}", f"--user={order.account.user}"]
        options += [f"--passwordeval=echo {order.account.password}"]
    content = order.content.replace(b"\r\n", b"\n")
    _run("msmtp", folder, *options, "--", order.recipient, stdin=content)


def python(order: Order, _folder: Path) -> None:
    """smtplib."""
    context = order.pki.client_context()
    if order.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(_HOST, order.port, _HELLO, timeout=_DEADLINE_S, context=context)
    else:
        client = smtplib.SMTP(_HOST, order.port, _HELLO, timeout=_DEADLINE_S)
    with client:
        if order.tls == "starttls":
            client.starttls(context=context)
        if order.account is not None:
            client.user, client.password = order.account.user, order.account.password
            client.ehlo()
            client.auth(order.mechanism, getattr(client, f"auth_{order.mechanism.lower()}"))
        client.sendmail(order.sender, [order.recipient], order.content)


def aio(order: Order, _folder: Path) -> None:
    """aiosmtplib."""
    account = order.account
    sending = aiosmtplib.send(
        order.content,
        hostname=_HOST,
        port=order.port,
        local_hostname=_HELLO,
        sender=order.sender,
        recipients=[order.recipient],
        username=account.user if account is not None else None,
        password=account.password if account is not None else None,
        use_tls=order.tls == "implicit",
        start_tls=order.tls == "starttls",
        tls_context=order.pki.client_context(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves a transport open where it has started TLS
        asyncio.run(sending)
        gc.collect()


PROGRAMS: Final[dict[str, Sender]] = {
    "swaks": swaks,
    "curl": curl,
    "msmtp": msmtp,
    "smtplib": python,
    "aiosmtplib": aio,
}


def _file(content: bytes, folder: Path) -> Path:
    path = folder / "message"
    path.write_bytes(content)
    return path


def _run(program: str, folder: Path, *args: str | Path, stdin: bytes = b"") -> None:
    require(f"/usr/bin/{program}")
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    argv = [f"/usr/bin/{program}", *args]
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, timeout=_DEADLINE_S, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-3000:], done.stderr[-2000:])
