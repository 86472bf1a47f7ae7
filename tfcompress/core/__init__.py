"""The nouns, and the foundations that all other parts build on."""
