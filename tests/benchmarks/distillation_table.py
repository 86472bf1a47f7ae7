"""What students learn from their teachers: errors with and without, and step times."""

import binary_accuracy
import cifar
import distillation_cifar
import distillation_digits
import distillation_steps
import harness

ROWS = {
    "hinton": distillation_digits.hinton,
    "omitted_digit": distillation_digits.omitted,
    "ensemble": distillation_digits.ensemble,
    "pruned": distillation_digits.pruned,
    "resnet": distillation_cifar.measure,
    "step_time": distillation_steps.measure,
}


def _add_options(parser):
    binary_accuracy.add_options(parser)
    cifar.add_options(parser)
    distillation_cifar.add_options(parser)
    distillation_steps.add_options(parser)


if __name__ == "__main__":
    harness.main(__doc__, ROWS, _add_options, quick=["hinton", "resnet"])
