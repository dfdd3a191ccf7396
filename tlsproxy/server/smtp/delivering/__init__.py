"""The way of mail into the old server: connections, envelopes, content."""
