"""Measures what models cost: reports, times, comparisons and HTML pages."""
