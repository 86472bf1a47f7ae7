"""The nouns, and what all parts stand on."""
