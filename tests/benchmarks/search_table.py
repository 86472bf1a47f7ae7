"""What searches find: channels at half the MACs, bits and zeros at a twelfth of the bytes.

Rows are in search_rows/. Candidates are compared on training images; accuracies are
those on the test set. The trained ResNet-20 has seen all training images, so choices
based on them are slightly optimistic, for all engines alike.
"""

import cifar
import dynamic_lab
import harness

if __name__ == "__main__":
    rows = dynamic_lab.rows_of("search_rows")
    harness.main(__doc__, rows, cifar.add_options, quick=["oracles"])
