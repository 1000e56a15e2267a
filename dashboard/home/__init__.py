"""The overview: what is wrong, with whom, since when; and what an empty installation is told."""
