"""Event names are an interface."""

import re

import pytest

from tlsproxy.core.events import Event


@pytest.mark.parametrize("event", Event)
def test_event_is_a_noun_and_what_became_of_it(event: Event) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+", event)
    assert event.name == event.replace(".", "_").upper()
