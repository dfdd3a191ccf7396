"""A throw-away mail world that shows tlsproxy at work; never used by the product itself."""
