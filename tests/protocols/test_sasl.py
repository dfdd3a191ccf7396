"""The user in a SASL exchange: found where it can be, and never anything else kept."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.sasl import SaslUser, gives_secret_away, is_bound_to_channel

MECHANISMS = [
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"DIGEST-MD5",
    b"SCRAM-SHA-256",
    b"XOAUTH2",
    b"OAUTHBEARER",
    b"GSSAPI",
]


def seen(mechanism: bytes, message: bytes) -> bytes | None:
    exchange = SaslUser(mechanism)
    exchange.see(b64encode(message))
    return exchange.user


@pytest.mark.parametrize(
    ("mechanism", "message", "user"),
    [
        (b"PLAIN", b"\0bob\0secret", b"bob"),
        (b"plain", b"admin\0bob\0secret", b"bob"),
        (b"PLAIN", b"bob\0\0secret", b"bob"),
        (b"PLAIN", b"bob\0secret", None),
        (b"PLAIN", b"secret", None),
        (b"PLAIN", b"a\0b\0c\0secret", None),
        (b"PLAIN", b"\0\0secret", None),
        (b"LOGIN", b"bob", b"bob"),
        (b"LOGIN", b"", None),
        (b"CRAM-MD5", b"bob b913a602c7eda7a495b4e6e7334d3890", b"bob"),
        (b"CRAM-MD5", b"bob the builder b913a602c7eda7a495b4e6e7334d3890", b"bob the builder"),
        (b"CRAM-MD5", b"secret", None),
        (b"SCRAM-SHA-1", b"n,,n=bob,r=fyko", b"bob"),
        (b"SCRAM-SHA-256", b"y,a=admin,n=b=2Cb=3D2C,r=fyko", b"b,b=2C"),
        (b"SCRAM-SHA-256-PLUS", b"p=tls-exporter,,m=x,n=bob,r=fyko", b"bob"),
        (b"SCRAM-SHA-1", b"c=biws,r=fyko,p=v0X8", None),
        (b"DIGEST-MD5", b'charset=utf-8,username="ch\\"r\\\\is",realm="x"', b'ch"r\\is'),
        (b"DIGEST-MD5", b'username = "chris"', None),
        (b"DIGEST-MD5", b'xusername="chris"', None),
        (b"XOAUTH2", b"user=bob@example.org\x01auth=Bearer t\x01\x01", b"bob@example.org"),
        (b"XOAUTH2", b"user=token", None),
        (b"OAUTHBEARER", b"n,a=bob=2C@example.org,\x01host=h\x01auth=Bearer t\x01\x01", b"bob,@example.org"),
        (b"OAUTHBEARER", b"n,,\x01auth=Bearer t\x01\x01", None),
        (b"GSSAPI", b"bob", None),
        (b"", b"bob", None),
    ],
)
def test_user(mechanism: bytes, message: bytes, user: bytes | None) -> None:
    assert seen(mechanism, message) == user


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("first", [b"Ym9i", b"=", b"", b"*", b"!", b"\xff\x00", b"Ym9", b"Ym9i\r\n"])
def test_only_the_first_response_is_decoded(mechanism: bytes, first: bytes) -> None:
    exchange = SaslUser(mechanism)
    exchange.see(first)
    user = exchange.user
    for message in (b"secret", b"\0u\0secret", b"u secret", b"n,,n=secret,r=x", b"user=secret\x01"):
        exchange.see(b64encode(message))
    assert exchange.user == user


def test_a_long_user_is_cut() -> None:
    assert seen(b"LOGIN", b"a" * 999) == b"a" * 256


@given(st.sampled_from(MECHANISMS), st.binary(max_size=60) | st.binary(max_size=60).map(b64encode))
def test_garbage_is_harmless(mechanism: bytes, response: bytes) -> None:
    exchange = SaslUser(mechanism)
    exchange.see(response)
    assert exchange.user is None or 0 < len(exchange.user) <= 256


@given(
    st.sampled_from([b"PLAIN", b"CRAM-MD5", b"XOAUTH2"]),
    st.binary(max_size=9).filter(lambda user: not set(user) & {0, 1, 32}),
)
def test_a_password_is_not_kept(mechanism: bytes, user: bytes) -> None:
    message = {
        b"PLAIN": b"\0" + user + b"\0TOPSECRET",
        b"CRAM-MD5": user + b" TOPSECRET",
        b"XOAUTH2": b"user=" + user + b"\x01auth=Bearer TOPSECRET\x01\x01",
    }[mechanism]
    exchange = SaslUser(mechanism)
    exchange.see(b64encode(message))
    assert exchange.user == (user or None)
    assert [getattr(exchange, slot) for slot in exchange.__slots__] == [None, user or None]


@pytest.mark.parametrize(
    ("mechanism", "is_bound"),
    [
        (b"EXTERNAL", True),
        (b"external", True),
        (b"SCRAM-SHA-256-PLUS", True),
        (b"scram-sha-1-plus", True),
        (b"GS2-KRB5-PLUS", True),
        (b"SCRAM-SHA-256", False),
        (b"PLAIN", False),
        (b"EXTERNALS", False),
        (b"PLUS", False),
        (b"", False),
    ],
)
def test_is_bound_to_channel(mechanism: bytes, *, is_bound: bool) -> None:
    assert is_bound_to_channel(mechanism) is is_bound


@pytest.mark.parametrize(
    ("mechanism", "gives_away"),
    [(b"PLAIN", True), (b"LOGIN", True), (b"XOAUTH2", True), (b"X-NEW", True)]
    + [(name, False) for name in (b"CRAM-MD5", b"scram-sha-256", b"GSSAPI", b"NTLM", b"DIGEST-MD5", b"GS2-KRB5")],
)
def test_gives_secret_away(mechanism: bytes, *, gives_away: bool) -> None:
    assert gives_secret_away(mechanism) is gives_away
