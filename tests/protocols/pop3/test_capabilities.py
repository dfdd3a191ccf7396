"""The filter: what is bound to the backend's own channel goes, all else stays byte for byte."""

import pytest

from tlsproxy.protocols.pop3.capabilities import filtered_capability, filtered_mechanism


@pytest.mark.parametrize(
    ("line", "filtered"),
    [
        (b"STLS", None),
        (b"Stls", None),
        (b"STLSX", b"STLSX"),
        (b"TOP", b"TOP"),
        (b"", b""),
        (b"SASL PLAIN LOGIN", b"SASL PLAIN LOGIN"),
        (b"sasl external  plain SCRAM-SHA-1-PLUS", b"sasl  plain"),
        (b"SASL EXTERNAL SCRAM-SHA-1-PLUS", None),
        (b"SASL EXTERNAL ", None),
        (b"SASL", None),
        (b"IMPLEMENTATION EXTERNAL STLS  x ", b"IMPLEMENTATION EXTERNAL STLS  x "),
    ],
)
def test_filtered_capability(line: bytes, filtered: bytes | None) -> None:
    assert filtered_capability(line) == filtered


@pytest.mark.parametrize(
    ("line", "filtered"),
    [(b"PLAIN", b"PLAIN"), (b"external", None), (b" SCRAM-SHA-1-PLUS ", None), (b"CRAM-MD5 ", b"CRAM-MD5 ")],
)
def test_filtered_mechanism(line: bytes, filtered: bytes | None) -> None:
    assert filtered_mechanism(line) == filtered
