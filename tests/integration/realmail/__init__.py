"""Real mail servers, a tap, the proxy as a program, and clients: what the integration tests are played with.

Servers and proxy listen on 127.0.0.1 and ports that were free; each is stopped by its own process id.
"""

import pytest

# What these modules assert is told as fully as what tests do.
pytest.register_assert_rewrite(f"{__name__}.site", f"{__name__}.program", f"{__name__}.clients")
