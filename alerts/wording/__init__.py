"""What a message says and how it gets shorter: text from the world made harmless first."""
