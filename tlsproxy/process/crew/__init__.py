"""The worker processes as the supervisor sees them."""
