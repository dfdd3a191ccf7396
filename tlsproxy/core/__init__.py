"""Words that every floor above speaks; pure values, no I/O."""
