"""Users and their password hashes, for those who send without an old server to ask; must not keep a password."""
