"""How tlsproxy is told what to do."""
