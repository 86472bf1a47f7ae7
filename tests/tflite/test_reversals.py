from tests.tflite import files
from tfcompress.tflite.operations import count_operations
from tfcompress.tflite.reversals import rescale_reversals


def reversal(scale_before, scale_behind):
    tensors = [
        files.tensor(b"x", files.INT8, (1, 4), scale=(scale_before,)),
        files.tensor(b"axis", files.INT32, (1,), 1),
        files.tensor(b"y", files.INT8, (1, 4), scale=(scale_behind,)),
    ]
    return files.model(tensors, files.operation("REVERSE_V2", (0, 1), (2,)))


def test_another_scale_is_reached_before_the_reversal():
    file = reversal(0.5, 0.25)
    file.buffers.append(file.buffers[0])
    rescale_reversals(file)
    assert count_operations(file) == {"QUANTIZE": 1, "REVERSE_V2": 1}
    graph = file.subgraphs[0]
    quantize, reverse = graph.operators
    assert [int(i) for i in quantize.inputs] == [0]
    assert [int(i) for i in quantize.outputs] == [3]
    assert [int(i) for i in reverse.inputs] == [3, 1]
    assert graph.tensors[3].quantization.scale.tolist() == [0.25]
    assert graph.tensors[0].quantization.scale.tolist() == [0.5]


def test_the_same_scale_needs_nothing():
    file = reversal(0.5, 0.5)
    rescale_reversals(file)
    assert count_operations(file) == {"REVERSE_V2": 1}
