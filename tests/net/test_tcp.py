"""What every connection is set to, on both legs."""

import socket

from tlsproxy.net.tcp import keep_alive


def test_accepted_sockets_get_it_from_the_listening_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        keep_alive(listening, 0.2)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            options = (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [1, 1, 30, 4]
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
