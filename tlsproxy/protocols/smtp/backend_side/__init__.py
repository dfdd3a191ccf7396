"""Our own dialogues with an old SMTP server, before any mail."""
