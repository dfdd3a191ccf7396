"""The story of a connection, told in order."""
