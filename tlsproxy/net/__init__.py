"""The only rooms with sockets and a loop."""
