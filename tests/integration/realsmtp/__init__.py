"""Real SMTP servers behind the proxy and real senders before it: what the integration tests of SMTP are played with.

Servers listen on 127.0.0.1 and ports that were free, from private folders; each is stopped by its own process id.
"""

import pytest

# What these modules assert is told as fully as what tests do.
pytest.register_assert_rewrite(f"{__name__}.site", f"{__name__}.letters", f"{__name__}.wire", f"{__name__}.senders")
