"""Dynamic networks beside their papers: accuracy, MACs, and the time of files.

Rows live in dynamic_rows/. Each trains for minutes; where that is less than the paper's
schedule, the note says so.
"""

import dynamic_lab

if __name__ == "__main__":
    dynamic_lab.main(__doc__, "dynamic_rows", quick=["branchynet_lenet"])
