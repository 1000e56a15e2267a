"""What was said: searching the log of tagged documents, a page for people and an export."""
