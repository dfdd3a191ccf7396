"""What runs in a worker process: sessions, and the ear for what the supervisor says."""
