"""The story of an SMTP session: commands one at a time, checks, and the old server behind them."""
