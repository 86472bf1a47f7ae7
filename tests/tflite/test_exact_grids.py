import numpy as np

from tests.tflite import files
from tfcompress.tflite.exact_grids import store_exact_grids


def test_a_coarse_grid_by_hand():
    # With two steps, 127 / 2 = 63.5 is 64; the second row lies on no grid of up to 31.
    codes = np.array(
        [[127, -127, 64, 0, 64, -64, 127, 0], [127, 126, 125, 124, 3, 2, 1, 0]]
    )
    file = files.dense(codes, scales=(2.0, 4.0), bias=np.array([635, 7]))
    store_exact_grids(file)
    found = files.values(file, 1, np.int8)
    assert found == [2, -2, 1, 0, 1, -1, 2, 0, *codes[1]]
    weight, bias = file.subgraphs[0].tensors[1:3]
    # A step is 63.5 old ones, and 635 old steps of the bias are 10.
    np.testing.assert_allclose(weight.quantization.scale, [127.0, 4.0])
    np.testing.assert_allclose(bias.quantization.scale, [127.0, 4.0])
    assert files.values(file, 2, np.int32) == [10, 7]


def test_a_fine_grid_is_told_by_the_trained_kernel():
    # With 50 steps: 127 * 49 / 50 = 124.46, 127 / 50 = 2.54.
    steps = np.array([[50, 49, 1, 0, -50, 3, -1, 2]])
    kernel = steps * 0.5
    codes = np.rint(127 * steps / 50)
    file = files.dense(codes, scales=(50.0,), bias=np.array([0]))
    store_exact_grids(file)
    assert files.values(file, 1, np.int8) == codes[0].tolist()
    store_exact_grids(file, [kernel])
    assert files.values(file, 1, np.int8) == steps[0].tolist()


def test_a_shared_kernel_is_left_alone():
    codes = np.array([[127, -127] * 4])
    file = files.dense(codes, scales=(1.0,), bias=np.array([0]))
    graph = file.subgraphs[0]
    graph.operators.append(files.operation("FULLY_CONNECTED", (3, 1, 2), (3,))[0])
    graph.operators[-1].opcodeIndex = 0
    store_exact_grids(file)
    assert files.values(file, 1, np.int8) == codes[0].tolist()
