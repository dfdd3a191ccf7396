"""What an old server can do, and what of it is offered."""

from tlsproxy.protocols.smtp.capabilities import Capabilities, extensions_of, offered, read_capabilities
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import Extension


def answer(*lines: bytes) -> Reply:
    return Reply(250, (b"old.example greets SIZE", *lines))


def test_all_is_read() -> None:
    assert read_capabilities(
        answer(
            *(b"PIPELINING", b"size 10240000", b"AUTH PLAIN login", b"AUTH=LOGIN CRAM-MD5", b"ENHANCEDSTATUSCODES"),
            *(b"8BITMIME", b"DSN", b"SMTPUTF8", b"STARTTLS", b"CHUNKING", b"ETRN", b"XCLIENT NAME ADDR", b""),
        )
    ) == Capabilities(
        extensions=frozenset(Extension),
        size=10240000,
        mechanisms=frozenset({b"PLAIN", b"LOGIN", b"CRAM-MD5"}),
        xclient=frozenset({b"NAME", b"ADDR"}),
    )


def test_one_that_says_nothing() -> None:
    assert read_capabilities(answer()) == Capabilities()


def test_sizes_that_are_no_limit() -> None:
    for line in (b"SIZE", b"SIZE 0", b"SIZE x", b"SIZE 1 2", b"SIZE " + b"9" * 21):
        said = read_capabilities(answer(line))
        assert said.size is None
        assert said.extensions == {Extension.SIZE}


def test_what_a_simple_server_makes_us_offer() -> None:
    assert offered(Capabilities(), 25000, starttls=False, auth=()) == ((b"PIPELINING", b"SIZE 25000"), 25000)


def test_what_a_good_server_makes_us_offer() -> None:
    backend = read_capabilities(
        answer(b"SIZE 20000", b"8BITMIME", b"DSN", b"SMTPUTF8", b"ENHANCEDSTATUSCODES", b"CHUNKING", b"XCLIENT ADDR")
    )
    lines, size = offered(backend, 25000, starttls=True, auth=(b"PLAIN", b"LOGIN"))
    assert lines == (
        *(b"PIPELINING", b"SIZE 15904", b"STARTTLS", b"AUTH PLAIN LOGIN"),
        *(b"ENHANCEDSTATUSCODES", b"8BITMIME", b"SMTPUTF8", b"DSN"),
    )
    assert size == 15904
    assert extensions_of(lines) == frozenset(Extension)


def test_a_size_is_never_said_to_be_unlimited() -> None:
    assert offered(Capabilities(size=4000), 25000, starttls=False, auth=())[1] == 1
