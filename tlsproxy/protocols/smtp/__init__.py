"""SMTP as between a client and an old server: commands, replies, content; without I/O."""
