"""Training with few weights from the beginning to the end, which ones changes."""
