"""The tables that SMTP brings: [smtp] and those below it, and [dns]; see ``config.model``."""
