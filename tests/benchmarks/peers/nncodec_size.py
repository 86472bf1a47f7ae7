"""Bytes that NNCodec, zstd and xz need to store the very same integers.

Its environment contains NumPy 1, which tfcompress does not support.
"""

import contextlib
import importlib.metadata
import io
import json
import lzma
import sys

import numpy as np
import zstandard
from nncodec import nnc
from nncodec.extensions import deepCABAC
from nncodec.nnc_core.hdsp.hdsp_tool import HDSP_OPTS_OFF

# Tables of values that belong to a tensor with the same name.
SIDE_TABLES = (".step", ".codebook")
# The first of each is its own default.
SETTINGS = {
    "codebook_mode": (0, 1),
    "scan_order": (0, 1, 2, 3, 4),
    "cabac_unary_length_minus1": (10, 0, 1, 2, 4, 16),
    "row_skipping": (True, False),
    "param_opt": (True, False),
}
DEFAULTS = {name: choices[0] for name, choices in SETTINGS.items()}


def sizes(path):
    """The smallest size for each tool, with equal effort on settings and order of axes.

    Args:
        path: `.npz` of integer tensors, inputs first and outputs last as in Keras.
            `<name>.step` and `<name>.codebook` contain the values that the integers of
            `<name>` represent; each entry counts 4 bytes in `table_bytes` and nowhere else.

    Returns:
        `{"tools": {tool: bytes of one file}, "table_bytes", "nncodec": {"settings",
        "outputs_first": tensors turned over, "payload_bytes": {tensor: bytes of its
        arithmetic code, without headers and codebook}}}`.
    """
    arrays = dict(np.load(path))
    tensors = {
        name: integers(name, array)
        for name, array in arrays.items()
        if not name.endswith(SIDE_TABLES)
    }
    table_bytes = sum(4 * a.size for n, a in arrays.items() if n.endswith(SIDE_TABLES))
    turned = {name: outputs_first(tensor) for name, tensor in tensors.items()}
    best_turned = [
        name
        for name in tensors
        if len(encoded({"0": turned[name]}, DEFAULTS))
        < len(encoded({"0": tensors[name]}, DEFAULTS))
    ]
    chosen = {n: turned[n] if n in best_turned else t for n, t in tensors.items()}
    settings, code = smallest(chosen)
    check(code, chosen)
    flat = [as_bytes(tensors), as_bytes(turned)]
    zstd = zstandard.ZstdCompressor(level=19)
    return {
        "tools": {
            f"nncodec {importlib.metadata.version('nncodec')}": len(code),
            f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} -19": min(
                len(zstd.compress(data)) for data in flat
            ),
            "xz -9e": min(
                len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
                for data in flat
            ),
        },
        "table_bytes": table_bytes,
        "nncodec": {
            "settings": settings,
            "outputs_first": best_turned,
            "payload_bytes": {n: payload(t, settings) for n, t in chosen.items()},
        },
    }


def integers(name, array):
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} is {array.dtype}: expected integers.")
    return array.astype(np.int32)


def outputs_first(tensor):
    return np.ascontiguousarray(np.moveaxis(tensor, -1, 0))


def smallest(tensors):
    """The best settings and their file: changed one at a time, until none helps."""
    best, code = dict(DEFAULTS), encoded(tensors, DEFAULTS)
    is_better = True
    while is_better:
        is_better = False
        for name, choices in SETTINGS.items():
            for choice in choices:
                settings = {**best, name: choice}
                candidate = encoded(tensors, settings)
                if len(candidate) < len(code):
                    best, code, is_better = settings, candidate, True
    return best, code


def encoded(tensors, settings):
    """The file. Names are numbers, since they are stored too."""
    named = {str(i): t for i, t in enumerate(tensors.values())}
    if settings["codebook_mode"]:
        # Only floats get codebooks; with a quantization parameter of 0 the step is 1.
        named = {name: tensor.astype(np.float32) for name, tensor in named.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        return nnc.compress(
            named,
            bitstream_path=None,
            return_bitstream=True,
            use_dq=False,
            qp=0,
            qp_per_tensor=dict.fromkeys(named, 0),
            **settings,
        )


def check(code, tensors):
    with contextlib.redirect_stdout(io.StringIO()):
        decoded = nnc.decompress(bytearray(code))
    for i, (name, tensor) in enumerate(tensors.items()):
        np.testing.assert_array_equal(decoded[str(i)], tensor, err_msg=name)


def payload(tensor, settings):
    """Bytes of the arithmetic code alone."""
    encoder = deepCABAC.Encoder()
    encoder.initCtxModels(
        settings["cabac_unary_length_minus1"] + 1, settings["param_opt"]
    )
    rows = tensor.reshape(len(tensor), -1)
    skipped = (~rows.any(axis=1)).astype(np.int32)
    scan_order = settings["scan_order"] if tensor.ndim > 1 else 0
    encoder.encodeLayer(
        *(tensor, 0, scan_order, 1, 0, settings["row_skipping"], skipped),
        *(*HDSP_OPTS_OFF(), 0, 0),
    )
    return len(encoder.finish())


def as_bytes(tensors):
    flat = np.concatenate([np.ravel(tensor) for tensor in tensors.values()])
    extremes = flat.min(), -flat.max(initial=1)
    return flat.astype(np.result_type(*map(np.min_scalar_type, extremes))).tobytes()


if __name__ == "__main__":
    print(json.dumps(sizes(**json.loads(sys.argv[1]))))
