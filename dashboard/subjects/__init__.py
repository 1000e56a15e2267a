"""One subject: its past, what was said of it and where, at what price."""
