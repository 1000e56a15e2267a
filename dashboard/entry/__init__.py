"""Who may come in: every request passes door.py, which asks the others. The kinds of writes are in roles.py."""
