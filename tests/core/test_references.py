"""Ids of connections."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.references import References

NUMBERS = st.integers(0, 2**48 - 1)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_twelve_digits_and_as_many_ids_as_numbers(start: int, factor: int, number: int) -> None:
    references = References(start=start, factor=factor)
    assert re.fullmatch("[0-9a-f]{12}", references.of(number))
    assert references.packed(number).hex() == references.of(number)
    ids = {references.of((number + n) % 2**48) for n in range(50)}
    assert len(ids) == 50
