"""The way to a backend as sessions see it, and whether there is any use in taking it."""
