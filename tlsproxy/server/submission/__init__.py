"""Who judges the passwords of those who send."""
