"""tlsproxy: a TLS-terminating mail proxy in front of a server that cannot be changed."""

__version__ = "0.1.0"
