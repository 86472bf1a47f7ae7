"""What models cost: reports, times, comparisons and pages of them."""
