"""The walk, step by step: each does one thing to the proxy and says what must come of it."""

from typing import Final

from tlsproxy.demo.steps import reading, reckoning, sending
from tlsproxy.demo.steps.stage import Stage, Step

__all__ = ["STEPS", "Stage", "Step"]

STEPS: Final = (*reading.STEPS, *sending.STEPS, *reckoning.STEPS)
