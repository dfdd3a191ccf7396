"""The proxies that are measured, each with its configuration, and how one is started."""

import getpass
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import version_of
from bench.processes import BenchError, Tree
from bench.rig import Rig, free_port

_CONFIGS: Final = Path(__file__).parent / "configs"
_SOURCE: Final = Path(__file__).parent.parent
_START_PATIENCE_S: Final = 20.0
# More than connections are ever opened, and less than nginx takes.
_NO_CAP: Final = 60000

_ASK_PYTHON: Final = """
import json, platform, ssl, sysconfig
arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
# Debian's build has both, and takes the flags out of what it tells.
is_debian = "--with-ssl-default-suites=openssl" in arguments and "dtrace" in arguments
print(json.dumps([platform.python_version(), "--enable-optimizations" in arguments or is_debian, ssl.OPENSSL_VERSION]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program that can stand in front of the backend.

    Attributes:
        name: The column in a table.
        program: What must be there to start it.
        version_flag: The argument that makes it tell its version.
        template: Its configuration in bench/configs.
        command: Its arguments; {config} is the file.
        can_refuse: It can hold an address to a cap.
        helper: Configuration of a program of the same kind that it asks for the way; runs beside the load.
        is_ours: tlsproxy, which is compared with the best of the others.
        loop: tlsproxy's event loop.
        is_quick: Part of the short run.
    """

    name: str
    program: str
    version_flag: str
    template: str
    command: tuple[str, ...]
    can_refuse: bool = False
    helper: str = ""
    is_ours: bool = False
    loop: str = "auto"
    is_quick: bool = False


_NGINX: Final = ("-c", "{config}", "-e", "{folder}/start.log")

PEERS: Final = (
    Peer(
        name="nginx stream",
        program="nginx",
        version_flag="-v",
        template="nginx-stream.conf.in",
        command=_NGINX,
        can_refuse=True,
        is_quick=True,
    ),
    Peer(
        name="HAProxy",
        program="haproxy",
        version_flag="-v",
        template="haproxy.cfg.in",
        command=("-db", "-f", "{config}"),
        can_refuse=True,
        is_quick=True,
    ),
    Peer(
        name="hitch",
        program="hitch",
        version_flag="--version",
        template="hitch.conf.in",
        command=("--config={config}",),
        is_quick=True,
    ),
    Peer(
        name="nginx mail",
        program="nginx",
        version_flag="-v",
        template="nginx-mail.conf.in",
        command=_NGINX,
        helper="nginx-mail-auth.conf.in",
    ),
    Peer(
        name="Dovecot proxy",
        program="dovecot",
        version_flag="--version",
        template="dovecot.conf.in",
        command=("-F", "-c", "{config}"),
    ),
    Peer(
        name="stunnel",
        program="stunnel4",
        version_flag="-version",
        template="stunnel.conf.in",
        command=("{config}",),
    ),
)


def tlsproxy(python: str, loop: str = "auto") -> Peer:
    """Our column for one interpreter and one event loop.

    Raises:
        BenchError: The interpreter cannot be started.
    """
    answer = subprocess.run([python, "-c", _ASK_PYTHON], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BenchError(f"{python} does not work: {answer.stderr.strip()}")
    version, is_optimised, _ = json.loads(answer.stdout)
    build = "PGO" if is_optimised else "plain"
    return Peer(
        name=f"tlsproxy, {version} {build}{'' if loop == 'auto' else f', {loop}'}",
        program=python,
        version_flag="--version",
        template="tlsproxy.toml.in",
        command=("-m", "tlsproxy", "run", "-c", "{config}"),
        can_refuse=True,
        is_ours=True,
        loop=loop,
        is_quick=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How a peer is set up for one measurement.

    Attributes:
        key: Kind of certificate: "ecdsa" or "rsa".
        cap: Connections at once from one address; None for as many as come.
        workers: Processes or threads that serve.
    """

    key: str = "ecdsa"
    cap: int | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A proxy that listens.

    Attributes:
        peer: What it is.
        target: Where load goes to.
        submission: Where users who send go to, if it does SMTP.
        tree: Its processes.
    """

    peer: Peer
    target: str
    submission: str
    tree: Tree


def version(peer: Peer) -> str:
    """The peer's version, or an empty text if it is not installed."""
    return version_of(peer.program, peer.version_flag)


@contextmanager
def running(rig: Rig, peer: Peer, variant: Variant) -> Iterator[Running]:
    """Start a peer, wait until it accepts connections, and end it at last.

    Raises:
        BenchError: It does not start.
    """
    folder = rig.new_folder()
    values = _values(rig, peer, variant, folder)
    with ExitStack() as stack:
        if peer.helper:
            helper = _write(peer.helper, folder, values)
            stack.enter_context(Tree(_command(peer, helper, folder), rig.cores.load, folder))
            _wait(values["helper"], None)
        config = _write(peer.template, folder, values)
        environment = {
            "OPENSSL_CONF": str(rig.openssl_config),
            "PYTHONPATH": os.environ.get("BENCH_SOURCE", str(_SOURCE)),
        }
        tree = stack.enter_context(Tree(_command(peer, config, folder), rig.cores.proxy, folder, environment))
        _wait(values["listen"], tree)
        yield Running(peer=peer, target=values["listen"], submission=values["submission"], tree=tree)


def _values(rig: Rig, peer: Peer, variant: Variant, folder: Path) -> dict[str, str]:
    port, pair = free_port(), rig.pairs[variant.key]
    cap = variant.cap or _NO_CAP
    is_root = os.geteuid() == 0
    return {
        "folder": str(folder),
        "host": "127.0.0.1",
        "port": str(port),
        "listen": f"127.0.0.1:{port}",
        "submission": f"127.0.0.1:{free_port()}",
        "backend": rig.backend,
        "backend_host": rig.backend.partition(":")[0],
        "backend_port": rig.backend.partition(":")[2],
        "helper": f"127.0.0.1:{free_port()}" if peer.helper else "",
        "chain": str(pair.chain),
        "key": str(pair.key),
        "pem": str(pair.both),
        "cap": '"none"' if peer.is_ours and variant.cap is None else str(cap),
        "workers": str(variant.workers),
        "loop": peer.loop,
        # Dovecot wants users that are not root, which its package makes.
        "user": "dovecot" if is_root else getpass.getuser(),
        "stranger": "dovenull" if is_root else getpass.getuser(),
        # hitch as well, but takes a name only from root.
        "hitch_user": 'user = "nobody"\ngroup = "nogroup"' if is_root else "",
        **rig.more,
    }


def _write(template: str, folder: Path, values: dict[str, str]) -> Path:
    text = (_CONFIGS / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    path = folder / template.removesuffix(".in")
    path.write_text(text)
    return path


def _command(peer: Peer, config: Path, folder: Path) -> list[str]:
    return [peer.program, *(part.format(config=config, folder=folder) for part in peer.command)]


def _wait(address: str, tree: Tree | None) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + _START_PATIENCE_S
    while time.monotonic() < deadline:
        if tree is not None:
            tree.check()
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError("does not listen")
