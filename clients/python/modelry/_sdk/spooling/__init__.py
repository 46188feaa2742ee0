"""The spool: files that keep what can't be sent now, and what waits in them."""
