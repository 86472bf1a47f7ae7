"""Benchmarks on Android devices."""
