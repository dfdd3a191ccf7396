"""Listening sockets: bound here or passed by systemd, and the way out told where they cannot be had."""

import errno
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from tlsproxy.config.model import InheritedSocket, TcpAddress
from tlsproxy.core.errors import BindError, NoIpv6Error
from tlsproxy.process.door.sockets import address_of, listen, place_of

LOOPBACK = TcpAddress("127.0.0.1", 0)


def test_bound(closing: Any) -> None:
    sock = closing(listen(LOOPBACK, 60.0))
    assert sock.gettimeout() == 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    assert not sock.get_inheritable()
    assert address_of(sock) == f"127.0.0.1:{sock.getsockname()[1]}"


def test_ipv6_leaves_ipv4_alone(closing: Any) -> None:
    try:
        sock = closing(listen(TcpAddress("::1", 0), 60.0))
    except BindError as error:
        pytest.skip(str(error))
    port = sock.getsockname()[1]
    assert address_of(sock) == f"[::1]:{port}"
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    closing(listen(TcpAddress("127.0.0.1", port), 60.0))


def test_address_in_use(closing: Any) -> None:
    port = closing(listen(LOOPBACK, 60.0)).getsockname()[1]
    with pytest.raises(BindError) as caught:
        listen(TcpAddress("127.0.0.1", port), 60.0)
    assert str(caught.value).startswith(f"127.0.0.1:{port}: Address already in use; something listens there already; ")


def test_address_that_this_machine_has_not() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.77:1: .*; this machine has no such address"):
        listen(TcpAddress("192.0.2.77", 1), 60.0)


def test_name_that_nobody_knows() -> None:
    with pytest.raises(BindError, match=r"old\.invalid:1: "):
        listen(TcpAddress("old.invalid", 1), 60.0)


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize(("host", "kind"), [("::", NoIpv6Error), ("::1", BindError), ("0.0.0.0", BindError)])  # noqa: S104 - nothing is bound
def test_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch, code: int, host: str, kind: type[BindError]) -> None:
    """Only whoever asks for every IPv6 address is missed by nobody."""

    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(BindError) as caught:
        listen(TcpAddress(host, 993), 60.0)
    assert type(caught.value) is kind


def test_low_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BindError, match=r"127\.0\.0\.1:993: Permission denied; ports below 1024 need CAP_NET_BIND"):
        listen(TcpAddress("127.0.0.1", 993), 60.0)


@pytest.mark.parametrize(
    ("environment", "has"),
    [
        ({}, "none"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "imap", "LISTEN_PID": "1"}, "none"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "imap:pop3:more", "LISTEN_PID": str(os.getpid())}, "imap, pop3"),
        ({"LISTEN_FDS": "", "LISTEN_PID": str(os.getpid())}, "none"),
    ],
)
def test_socket_that_systemd_did_not_pass(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], has: str
) -> None:
    for key in ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(BindError) as caught:
        listen(InheritedSocket("imaps"), 60.0)
    assert str(caught.value) == f"fd:imaps: systemd passed no socket of that name (passed: {has})"


CHILD = """
import os, sys
os.dup2(int(sys.argv[1]), 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="other:imaps")
from tlsproxy.config.model import InheritedSocket
from tlsproxy.process.door.sockets import address_of, listen
for _ in range(2):  # a reload that drops the listener and takes it again
    sock = listen(InheritedSocket("imaps"), 60.0)
    assert sock.gettimeout() == 0 and sock.fileno() != 4
    print(address_of(sock))
    sock.close()
"""


def test_socket_that_systemd_passed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.set_inheritable(True)
        command = [sys.executable, "-c", CHILD, str(sock.fileno())]
        said = subprocess.run(command, pass_fds=[sock.fileno()], capture_output=True, check=False, text=True)
        assert said.stderr == ""
        assert said.stdout.split() == [address_of(sock)] * 2


def test_places() -> None:
    fixed, free = TcpAddress("127.0.0.1", 993), TcpAddress("127.0.0.1", 0)
    assert place_of("a", fixed) == place_of("b", fixed)
    assert place_of("a", free) != place_of("b", free)
    assert place_of("a", InheritedSocket("x")) == place_of("b", InheritedSocket("x"))
