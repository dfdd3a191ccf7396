"""TLS on both legs; the only rooms, with net.certs, that name the ssl module."""
