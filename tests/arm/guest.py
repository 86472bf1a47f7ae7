"""What `run.py` starts on the emulated processor; it needs NumPy and LiteRT only."""

import ctypes
import pathlib
import pickle
import sys

import numpy as np
from ai_edge_litert import interpreter as litert

# Of native/isa.h: the reference, portable C, NEON for either kind of core.
ISAS = (1, 2, 5, 6)


def model_outputs(path, library, x):
    """The outputs of a `.tflite` file with the delegate in the native library."""
    delegate = litert.load_delegate(str(library))
    interpreter = litert.Interpreter(str(path), experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], x.astype(entry["dtype"]))
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return [interpreter.get_tensor(each["index"]) for each in outputs]


def run_operation(library, case, isa, threads):
    """The output of an operation as `operations.py` recorded it."""
    params = ctypes.create_string_buffer(case["params"])
    for offset, array in case["arrays"].items():
        ctypes.c_void_p.from_buffer(params, offset).value = array.ctypes.data
    op = ctypes.c_void_p()
    status = library[f"tfc_{case['name']}_create"](params, isa, ctypes.byref(op))
    if status:
        raise RuntimeError(f"status {status}")
    y = np.empty_like(case["y"])
    x = ctypes.c_void_p(case["x"].ctypes.data)
    run = library[f"tfc_{case['name']}_run"]
    run(op, x, ctypes.c_void_p(y.ctypes.data), threads)
    library[f"tfc_{case['name']}_free"](op)
    return y


def check_operations(path, file):
    """Yields what was compared, and whether all bits are equal."""
    library = ctypes.CDLL(str(path))
    library.tfc_threads_create.restype = ctypes.c_void_p
    threads = ctypes.c_void_p(library.tfc_threads_create(2))
    for number, case in enumerate(pickle.loads(file.read_bytes())):
        for isa in ISAS:
            y = run_operation(library, case, isa, (None, threads)[number % 2])
            name = f"{case['name']} {number} with instruction set {isa}"
            yield name, y.tobytes() == case["y"].tobytes()


def check_models(library, folder):
    """Yields the name of each model, and whether all bits of its outputs are equal."""
    for path in sorted(folder.glob("*.tflite")):
        arrays = np.load(path.with_suffix(".npz"))
        expected = [arrays[f"y{i}"] for i in range(len(arrays.files) - 1)]
        outputs = model_outputs(path, library, arrays["x"])
        same = all(map(np.array_equal, outputs, expected))
        yield path.name, same and len(outputs) == len(expected)


def main(library, folder):
    folder = pathlib.Path(folder)
    results = [
        *check_operations(library, folder / "operations.pickle"),
        *check_models(library, folder),
    ]
    failed = [name for name, same in results if not same]
    for name in failed:
        print(f"{name}: not what the other machine computes")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
