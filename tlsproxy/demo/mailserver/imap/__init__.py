"""The IMAP side of the old server (RFC 3501), by itself: no sockets."""
