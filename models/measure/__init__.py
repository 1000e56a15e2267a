"""What a model is worth: sets, figures, what it must show, and the card that says so."""
