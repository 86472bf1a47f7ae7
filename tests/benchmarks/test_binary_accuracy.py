import argparse

import binary_accuracy
import numpy as np
import pytest

import tfcompress as tfc


@pytest.mark.parametrize(
    "build, name, num_binary, num_kernels",
    [
        ("build_mlp", "BinaryConnect", 0, 4),
        ("build_mlp", "BNN", 3, 4),
        ("build_cnn", "BNN", 3, 4),
        # The first and the last layer are real-valued.
        ("build_cnn", "XNOR", 2, 2),
    ],
)
def test_which_kernels_and_inputs_are_binary(build, name, num_binary, num_kernels):
    model = getattr(binary_accuracy, build)(binary_accuracy.MLP[name])
    rows = [w for w in tfc.report(model).weights if w.bits == 1 and w.macs]
    assert len(rows) == num_kernels
    assert sum(w.binary_macs > 0 for w in rows) == num_binary


def test_trained_models_are_kept(tmp_path):
    def train():
        trained.append(binary_accuracy.build_resnet())
        return trained[-1]

    trained, options = [], argparse.Namespace(models_dir=tmp_path / "new")
    models = [binary_accuracy.kept("resnet", options, train) for _ in range(2)]
    assert len(trained) == 1
    first, second = (model.get_weights() for model in models)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
