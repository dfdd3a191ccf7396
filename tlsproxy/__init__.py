"""tlsproxy: a TLS-terminating mail proxy in front of a server that cannot be changed."""

from typing import Final

__version__: Final = "0.1.0"
