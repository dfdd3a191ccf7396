"""Who may send: the desk of each role, and what it finds out about a client."""
