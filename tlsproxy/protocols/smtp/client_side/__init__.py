"""What a conversation with a client consists of: whose turn it is, what the client may say, how it logs in."""
