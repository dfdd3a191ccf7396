"""The running program: sockets, door, worker, signals, reload."""
