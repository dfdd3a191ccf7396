"""TLS on both legs: certificates, contexts, handshake, endpoint; the only rooms that name the ssl module."""
