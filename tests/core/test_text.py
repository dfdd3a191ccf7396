"""Escaped text."""

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.text import printable


def test_controls_are_escaped_and_nothing_else() -> None:
    assert printable("Grüße, 世界 \\n") == "Grüße, 世界 \\n"
    assert printable("a\x1b[2Jb\n\u2028\udc80") == r"a\x1b[2Jb\n\u2028\udc80"


@given(st.text())
def test_whatever_comes_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
