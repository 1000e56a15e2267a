"""What people set and ask while alerts go out: endpoints, acknowledgements, silences, tests, drills, the delivery log."""
