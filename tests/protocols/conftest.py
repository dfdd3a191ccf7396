"""What the protocol tests share."""

from hypothesis import settings

# A machine that does other things at the same time is slow now and then, and no test here is about speed.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
