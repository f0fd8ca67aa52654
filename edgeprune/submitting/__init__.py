"""What leaves the house with a finished run: a challenge's submission package, and a model card."""
