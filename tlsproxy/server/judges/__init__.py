"""Who judges the passwords of those who send; must not know SMTP, nor how a refusal is worded."""
