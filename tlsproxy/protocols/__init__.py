"""Mail dialogues without I/O, clock or log: bytes in, actions out."""
