"""Dynamic networks compared with their papers: accuracy, MACs, and latency of files.

Rows are in dynamic_rows/. Each trains for minutes; if that is less than the paper's
schedule, the note says so.
"""

import cifar
import dynamic_lab
import harness

if __name__ == "__main__":
    rows = dynamic_lab.rows_of("dynamic_rows")
    harness.main(__doc__, rows, cifar.add_options, quick=["branchynet_lenet"])
