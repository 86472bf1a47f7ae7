"""Passes over `.tflite` files: bytes in, bytes out."""
