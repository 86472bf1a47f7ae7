"""Quantization of weights and activations, with and without training."""
