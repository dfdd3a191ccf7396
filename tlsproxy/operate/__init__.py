"""What people look at: logs and checks."""
