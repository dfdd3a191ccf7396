"""Listening sockets, who is let in by them, and what is said to the others."""
