"""What searches find: channels at half the MACs, bits and zeros at a twelfth of the bytes.

Rows live in search_rows/. Candidates are compared on training images; accuracies are those
of the test set. The trained ResNet-20 has seen all training images, so what is chosen by
them is a little too hopeful, for all engines alike.
"""

import functools

import cifar
import dynamic_lab
import harness


def _run(function, options):
    return function(dynamic_lab.Lab(options))


if __name__ == "__main__":
    harness.main(
        __doc__,
        {
            name: functools.partial(_run, function)
            for name, function in harness.rows_in("search_rows").items()
        },
        cifar.add_options,
        quick=["oracles"],
    )
