"""What other tools make of the same networks and data, and what this package does.

Every tool runs in its own environment, gets the same trained weights, the same batches in
the same order, and as many epochs. All files are judged by the same interpreter on the
same test set.
"""

import harness
import peer_lab

if __name__ == "__main__":
    harness.main(
        __doc__,
        peer_lab.rows_of("peer_rows"),
        peer_lab.add_options,
        quick=["pruning"],
    )
