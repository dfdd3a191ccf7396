"""The first bytes of a connection: real hellos, fragments, other protocols, anything."""

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.net.tls.client_hello import PEEK_LIMIT_BYTES, ClientHello, NeedMore, NotTls, NotTlsKind, examine

TLS12, TLS13 = 0x0303, 0x0304
HEADER = 5


def real_hello(
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, name: str | None = "mail.example.org", alpn: tuple[str, ...] = ()
) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, maximum  # systems differ in it
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def record(payload: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return struct.pack("!BHH", kind, version, len(payload)) + payload


def message(body: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def hello_body(extensions: bytes | None = b"", version: int = TLS12, session: bytes = b"") -> bytes:
    body = struct.pack("!H", version) + bytes(32) + bytes([len(session)]) + session + b"\0\2\x13\x01" + b"\1\0"
    return body if extensions is None else body + struct.pack("!H", len(extensions)) + extensions


def hello(extensions: bytes | None = b"", version: int = TLS12, session: bytes = b"") -> bytes:
    return record(message(hello_body(extensions, version, session)))


def name_extension(name: bytes, kind: int = 0) -> bytes:
    return extension(0, struct.pack("!HBH", len(name) + 3, kind, len(name)) + name)


def found(data: bytes) -> ClientHello:
    finding = examine(data)
    assert isinstance(finding, ClientHello), finding
    return finding


def kind_of(data: bytes) -> NotTlsKind:
    finding = examine(data)
    assert isinstance(finding, NotTls), finding
    return finding.kind


@pytest.mark.parametrize(
    ("maximum", "versions"), [(ssl.TLSVersion.TLSv1_3, (TLS13, TLS12)), (ssl.TLSVersion.TLSv1_2, (TLS12,))]
)
@pytest.mark.parametrize("name", ["mail.example.org", None])
@pytest.mark.parametrize("alpn", [(), ("imap",), ("pop3", "imap")])
def test_real_hellos_whole_and_at_every_cut(
    maximum: ssl.TLSVersion, versions: tuple[int, ...], name: str | None, alpn: tuple[str, ...]
) -> None:
    data = real_hello(maximum, name, alpn)
    expected = ClientHello(name, tuple(p.encode() for p in alpn), versions)
    assert examine(data) == expected
    assert examine(data + b"\x14\x03\x03\0\1\1") == expected
    for end in range(len(data)):
        assert examine(data[:end]) == NeedMore(HEADER if end < HEADER else len(data))


def test_name_is_lower_case() -> None:
    assert found(hello(name_extension(b"Mail.EXAMPLE.org"))).server_name == "mail.example.org"


@pytest.mark.parametrize("name", [b"a", b"localhost", b"xn--bcher-kva.example", b"a_b.example", b"1.2.3.com", b"3com"])
def test_host_names_pass(name: bytes) -> None:
    assert found(hello(name_extension(name))).server_name == name.decode()


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"a.",
        b".a",
        b"a..b",
        b"-a.b",
        b"a-.b",
        b"a b",
        b"a\0b",
        b"a\nb",
        b"a\n",
        b"b\xc3\xbccher.example",
        b"192.0.2.1",
        b"2001:db8::1",
        b"a" * 64,
        b"a." * 126 + b"aa",
        b"*.example.org",
    ],
)
def test_what_is_no_host_name_is_left_out(name: bytes) -> None:
    assert found(hello(name_extension(name))).server_name is None


def test_longest_host_name_passes() -> None:
    name = b"a." * 126 + b"a"
    assert found(hello(name_extension(name))).server_name == name.decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\4\0\0\2a",  # says more than there is
        b"\0\5\0\0\1a",
        b"\0\4\1\0\1a",  # no host name
        b"\0\4\0\0\1ab",
    ],
)
def test_malformed_name_is_left_out(data: bytes) -> None:
    assert found(hello(extension(0, data))) == ClientHello(None, (), (TLS12,))


@pytest.mark.parametrize(
    ("data", "protocols"),
    [
        (b"", ()),
        (b"\0", ()),
        (b"\0\0", ()),
        (b"\0\5\4imap", (b"imap",)),
        (b"\0\x0a\4imap\4pop3", (b"imap", b"pop3")),
        (b"\0\x06\4imap\0", (b"imap",)),
        (b"\0\x07\4imap\2a", (b"imap",)),
    ],
)
def test_protocols_as_far_as_they_are_well_formed(data: bytes, protocols: tuple[bytes, ...]) -> None:
    assert found(hello(extension(16, data))).alpn == protocols


@pytest.mark.parametrize(
    ("data", "versions"),
    [
        (b"\4\3\4\3\3", (TLS13, TLS12)),
        (b"\6\x7a\x7a\3\4\3\3", (TLS13, TLS12)),
        (b"\2\x0a\x1a", (0x0A1A,)),
        (b"\2\x1a\x0a", (0x1A0A,)),
        (b"\2\x1a\x1a", (TLS12,)),
        (b"\3\3\4\3", (TLS13,)),
        (b"\2", (TLS12,)),
        (b"", (TLS12,)),
    ],
)
def test_versions_without_grease(data: bytes, versions: tuple[int, ...]) -> None:
    assert found(hello(extension(43, data))).versions == versions


def test_other_extensions_are_passed_over() -> None:
    others = extension(0x0A0A, b"") + extension(21, bytes(200)) + extension(51, b"\0\1")
    data = hello(others + name_extension(b"a.example") + others, session=bytes(32))
    assert found(data).server_name == "a.example"


def test_hello_without_extensions() -> None:
    assert examine(hello(None, version=0x0301)) == ClientHello(None, (), (0x0301,))


def test_fragments_of_every_size() -> None:
    data = real_hello(alpn=("imap",))
    expected = examine(data)
    inner = data[HEADER:]
    for size in range(-(-len(inner) // 64), len(inner), 7):
        records = [record(inner[at : at + size]) for at in range(0, len(inner), size)]
        seen = b""
        for one in records:
            assert examine(seen) == NeedMore(len(seen) + HEADER)
            assert examine(seen + one[:HEADER]) == NeedMore(len(seen) + len(one))
            assert examine(seen + one[:-1]) == NeedMore(len(seen) + max(len(one), HEADER))
            seen += one
        assert examine(seen) == expected


def test_message_header_over_several_records() -> None:
    inner = message(hello_body(name_extension(b"a.example")))
    data = b"".join(record(inner[at : at + 1]) for at in range(6)) + record(inner[6:])
    assert found(data).server_name == "a.example"


def test_too_many_records() -> None:
    inner = message(hello_body(extension(21, bytes(100))))
    records = [record(inner[at : at + 1]) for at in range(len(inner))]
    assert examine(b"".join(records[:63])) == NeedMore(63 * 6 + HEADER)
    assert kind_of(b"".join(records[:64])) is NotTlsKind.OVERSIZED


def test_needs_never_grow_beyond_the_bound() -> None:
    largest = hello_body(extension(21, bytes((1 << 14) - len(hello_body()) - 4)))
    assert len(largest) == 1 << 14
    assert isinstance(examine(record(message(largest)[:-4]) + record(message(largest)[-4:])), ClientHello)
    assert kind_of(record(message(largest + b"\0")[:-5])) is NotTlsKind.OVERSIZED
    assert kind_of(b"\x16\3\1\x40\1") is NotTlsKind.OVERSIZED
    assert kind_of(record(message(largest)[:400]) + b"\x16\3\1\x40\0") is NotTlsKind.OVERSIZED
    assert examine(b"\x16\3\1\x40\0") == NeedMore(HEADER + (1 << 14))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GET / HTTP/1.1\r\n", NotTlsKind.HTTP),
        (b"HEAD /", NotTlsKind.HTTP),
        (b"PRI * HTTP/2.0", NotTlsKind.HTTP),
        (b"OPTIONS *", NotTlsKind.HTTP),
        (b"a1 LOGIN x y\r\n", NotTlsKind.PLAINTEXT),
        (b"USER anna\r\n", NotTlsKind.PLAINTEXT),
        (b"\r\n", NotTlsKind.PLAINTEXT),
        (b"a\n", NotTlsKind.PLAINTEXT),
        (b"EHLO ", NotTlsKind.PLAINTEXT),
        (b"\x80\x2e\x01\x00\x02", NotTlsKind.SSL2),
        (b"\x80\x2e\x01\x03\x01\x00", NotTlsKind.SSL2),
        (b"\x80\x2e\x02\x00\x02", NotTlsKind.GARBAGE),
        (b"\x80\x2e\x01\x09\x02", NotTlsKind.GARBAGE),
        (b"\x80\n\x01\x09\x02", NotTlsKind.GARBAGE),
        (b"\0", NotTlsKind.GARBAGE),
        (b"\x15\3\1\0\2\2\x28", NotTlsKind.GARBAGE),
        (b"\x16\2\1\0\5", NotTlsKind.GARBAGE),
        (b"\x16\3\1\0\0", NotTlsKind.GARBAGE),
        (record(message(b"", kind=2)), NotTlsKind.GARBAGE),
        (record(b"\1") + record(b"\0", kind=20), NotTlsKind.GARBAGE),
        (record(message(b"")), NotTlsKind.GARBAGE),
        (record(message(bytes(34))), NotTlsKind.GARBAGE),
        (record(message(bytes(35))), NotTlsKind.GARBAGE),
        (record(message(bytes(37))), NotTlsKind.GARBAGE),
        (record(message(hello_body(None) + b"\0")), NotTlsKind.GARBAGE),
        (record(message(hello_body(None) + b"\0\1")), NotTlsKind.GARBAGE),
        (record(message(hello_body() + b"\0")), NotTlsKind.GARBAGE),
        (hello(b"\0\0\0"), NotTlsKind.GARBAGE),
        (hello(b"\0\x15\0\1"), NotTlsKind.GARBAGE),
    ],
)
def test_what_is_no_tls(data: bytes, kind: NotTlsKind) -> None:
    assert kind_of(data) is kind


@pytest.mark.parametrize(
    "data", [b"", b"G", b"GET ", b"a1 L", b"\x80", b"\x80\x2e\x01\x03", b"\x80\n\1", b"\x16\3\1\0"]
)
def test_too_little_to_tell(data: bytes) -> None:
    assert examine(data) == NeedMore(HEADER)


HEADS = st.sampled_from([b"", b"\x16", b"\x16\3\1", b"\x80", b"\x16\3\1\0\x40\1\0\0", hello_body()])


@given(head=HEADS, tail=st.binary(max_size=400))
def test_any_bytes_are_judged_and_what_is_needed_is_more_and_bounded(head: bytes, tail: bytes) -> None:
    data = head + tail
    finding = examine(data)
    if isinstance(finding, NeedMore):
        assert len(data) < finding.total_bytes <= PEEK_LIMIT_BYTES


@given(sizes=st.lists(st.integers(1, 1 << 14), max_size=70), length=st.integers(0, (1 << 14) + 1))
def test_what_is_needed_is_bounded_however_a_hello_is_cut(sizes: list[int], length: int) -> None:
    inner = message(bytes(length)) + bytes(1 << 16)
    data, at = b"", 0
    for size in sizes:
        data, at = data + record(inner[at : at + size]), at + size
        finding = examine(data)
        if isinstance(finding, NeedMore):
            assert len(data) < finding.total_bytes <= PEEK_LIMIT_BYTES
    # A hello of nothing but zeros is one, if it has the right length.
    assert not isinstance(examine(data + bytes(PEEK_LIMIT_BYTES)), NeedMore)


@given(tail=st.binary(max_size=200), kinds=st.lists(st.sampled_from([0, 16, 43]), max_size=4))
def test_any_extensions_are_judged(tail: bytes, kinds: list[int]) -> None:
    assert not isinstance(examine(hello(b"".join(extension(k, tail) for k in kinds) + tail)), NeedMore)


@given(data=st.just(real_hello(alpn=("imap",))), at=st.integers(0, 500), byte=st.integers(0, 255))
def test_one_changed_byte_raises_nothing(data: bytes, at: int, byte: int) -> None:
    changed = bytearray(data)
    changed[at % len(data)] = byte
    examine(bytes(changed))
