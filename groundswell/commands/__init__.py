"""The edge: one module a group of commands. Read cli.py for the list."""
