"""What people set: acknowledgements, silences, endpoints, rules, watchlists, and documents that they send."""
