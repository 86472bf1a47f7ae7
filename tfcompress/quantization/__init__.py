"""Few-valued weights and activations: ranges, training with them, and without."""
