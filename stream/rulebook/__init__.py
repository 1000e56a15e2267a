"""A user's own rules: how they are written, whether they hold, what is told of them."""
