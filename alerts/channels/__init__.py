"""One file a channel: `headers` makes the request, `verdict` reads the answer. webhook.py is the pattern."""
