"""Agents that learn from rewards, and their environments, in the form of Gymnasium."""
