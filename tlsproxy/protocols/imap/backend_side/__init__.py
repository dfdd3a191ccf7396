"""Our own dialogues with an old IMAP server: to begin TLS, and to learn whether a password is right."""
