"""Who and what a text is about: the catalogue, industries, and the automaton that finds their names."""
