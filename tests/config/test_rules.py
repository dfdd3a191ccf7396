"""What the sections owe to each other."""

from collections.abc import Callable

Told = Callable[..., list[str]]
Load = Callable[..., object]

TLS = '[tls]\ncertificates = [{ chain = "a", key = "b" }]\n'
IMAP = '[backend.imap]\naddress = "127.0.0.1:1143"\n'


def _listener(bind: str, name: str = "imaps", **keys: str) -> str:
    more = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    return f'[[listener]]\nname = "{name}"\nprotocol = "imap"\nbind = [{bind}]\n{more}'


def test_a_backend_that_no_listener_follows_from(told: Told) -> None:
    way_out = 'write [[listener]] and below it protocol = "imap", backend = "old"'
    assert told(TLS + '[backend.old]\naddress = "h:1"') == [
        f"backend.old: nothing listens for it; call it backend.imap or backend.pop3, or {way_out}"
    ]


def test_a_listener_without_backend(told: Told) -> None:
    way_out = "write that table with the address of the old mail server"
    assert told(TLS + _listener('"h:1"')) == [f'listener[0].backend = "imap": there is no [backend.imap]; {way_out}']


def test_a_backend_misspelt(told: Told) -> None:
    assert told(TLS + IMAP + _listener('"h:1"', backend="imao")) == [
        'listener[0].backend = "imao": there is no [backend.imao]; did you mean "imap"?'
    ]


def test_two_listeners_of_one_name(told: Told) -> None:
    assert told(TLS + IMAP + _listener('"h:1"') + _listener('"h:2"')) == [
        'listener[1].name = "imaps": listener[0] has this name already; give one of them a name of its own'
    ]


def test_addresses_that_cannot_be_had_twice(told: Told) -> None:
    first = _listener('"127.0.0.1:1", "0.0.0.0:2", "[::1]:3", "fd:a", "name:4", "127.0.0.1:0"')
    second = _listener(
        '"127.0.0.1:1", "127.0.0.1:2", "[::]:3", "fd:a", "name:4", "127.0.0.1:0", "[::]:2", "other:4"', "b"
    )
    assert told(TLS + IMAP + first + second) == [
        f"listener[1].bind[{i}] = {value}: listener[0].bind[{i}] takes this already; one address serves one listener"
        for i, value in enumerate(['"127.0.0.1:1"', '"127.0.0.1:2"', '"[::]:3"', '"fd:a"', '"name:4"'])
    ]


def test_backends_that_are_tlsproxy_itself(told: Told) -> None:
    text = (
        TLS
        + _listener('"0.0.0.0:143", "[::]:144", "192.0.2.1:145"')
        + "".join(
            f'[backend.{name}]\naddress = "{address}"\n'
            for name, address in [
                ("imap", "127.0.0.1:143"),
                ("named", "LOCALHOST:144"),
                ("same", "192.0.2.1:145"),
                ("elsewhere", "192.0.2.2:143"),
                ("near", "127.0.0.1:145"),
                ("unix", "unix:/s"),
            ]
        )
    )
    rest = "and would connect to itself; move the old server elsewhere"
    assert told(text) == [
        f"{key} = {value}: tlsproxy listens there itself ({ours}) {rest}"
        for key, value, ours in [
            ("backend.imap.address", '"127.0.0.1:143"', "listener[0].bind[0]"),
            ("backend.named.address", '"LOCALHOST:144"', "listener[0].bind[1]"),
            ("backend.same.address", '"192.0.2.1:145"', "listener[0].bind[2]"),
        ]
    ]


def test_ipv4_and_ipv6_share_a_port(load: Load) -> None:
    assert load(TLS + IMAP + _listener('"0.0.0.0:1", "[::]:1"'))
