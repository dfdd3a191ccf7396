"""Fixtures for SMTP sessions."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rig.kinds import Closing
from rig.pki import Pki
from rig.proxy import RunningProxy
from rig.scriptedsmtp import OldSmtp
from rig.smtpscene import STRANGERS, Judge, Scene, smtp_config, tools_of
from rig.zones import Zones

from tlsproxy.core.kinds import LoopKind
from tlsproxy.senders.names import Lookup

SceneMaker = Callable[..., Scene]
"""Start a proxy in front of a scripted old server; ``lookup`` in place of the scene's zones, and
sections of the configuration as keyword arguments."""


@pytest.fixture
def make_scene(rig_pki: Pki, loop_kind: LoopKind, closing: Closing) -> SceneMaker:
    def make(lookup: Lookup | None = None, **sections: Mapping[str, Any]) -> Scene:
        old: OldSmtp = closing(OldSmtp())
        zones, judge = Zones(), Judge()
        config = smtp_config(rig_pki, old.address, **sections)
        running = RunningProxy(
            config, loop_kind, make_tools=tools_of(config, lookup or zones.look_up, judge), disguises=STRANGERS
        )
        proxy: RunningProxy = closing(running)
        return Scene(proxy=proxy, old=old, zones=zones, judge=judge, pki=rig_pki, enter=closing)

    return make


@pytest.fixture
def scene(make_scene: SceneMaker) -> Scene:
    """One that asks for nothing special."""
    return make_scene()
