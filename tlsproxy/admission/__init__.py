"""Who may come in; pure tables, the clock is a parameter."""
