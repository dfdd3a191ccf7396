"""The types of the shared fixtures."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from rig.peers import Peer
from rig.proxy import RunningProxy

ProxyMaker = Callable[..., RunningProxy]
"""Start a proxy in front of the scripted backend; sections of the configuration as keyword arguments."""
Caller = Callable[..., Peer]
"""Connect to a listener of a proxy, by its name."""
Closing = Callable[[AbstractContextManager[Any]], Any]
"""Enter a context for the rest of the test."""
