"""Dynamic networks beside their papers: accuracy, MACs, and the time of files.

Rows live in dynamic_rows/. Each trains for minutes; where that is less than the paper's
schedule, the note says so.
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
            for name, function in harness.rows_in("dynamic_rows").items()
        },
        cifar.add_options,
        quick=["branchynet_lenet"],
    )
