"""One file a channel, two functions each: `headers` or the like makes the request, `verdict` reads the answer. webhook.py is the pattern."""
