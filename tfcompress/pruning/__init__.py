"""Weights, neurons and channels that can go."""
