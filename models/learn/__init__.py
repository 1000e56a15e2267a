"""How the bundled model was made, and how a user's own is: rows and public sets, training, fine-tuning. Serving needs none of it."""
