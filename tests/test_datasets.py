import keras
import numpy as np
import pytest

from tfcompress import datasets


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(datasets.DATA_VARIABLE, raising=False)


def arrays(shape=(28, 28), labels=(3, 1)):
    images = np.zeros((2, *shape), np.uint8)
    images[0, 0, 0] = 255
    images[1, 0, 0] = 51
    labels = np.array(labels, np.uint8)
    return {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}


def write(folder, name="mnist", **changes):
    np.savez(folder / f"{name}.npz", **{**arrays(), **changes})
    return folder


def test_digits_split_is_fixed_and_complete():
    (x_train, y_train), (x_test, y_test) = datasets.load("digits")
    images = np.concatenate([x_train, x_test])
    assert images.shape == (1797, 8, 8, 1)
    assert (images.min(), images.max()) == (0.0, 1.0)
    counts = np.bincount(np.concatenate([y_train, y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(y_test).min() > 20
    assert np.array_equal(datasets.load("digits")[1][0], x_test)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_grey_images_get_a_channel_and_are_scaled(tmp_path, name):
    (x_train, y_train), (x_test, _) = datasets.load(name, write(tmp_path, name))
    assert x_train.shape == (2, 28, 28, 1)
    assert x_train.dtype == np.float32
    assert x_train[:, 0, 0, 0].tolist() == [1.0, np.float32(0.2)]
    assert y_train.dtype == np.int32
    assert y_train.tolist() == [3, 1]
    assert np.array_equal(x_test, x_train)


def test_every_pixel_value_is_restored_by_255():
    pixels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(255 * (pixels.astype(np.float32) / 255), pixels)


def test_cifar_labels_lose_their_axis(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **arrays((32, 32, 3), labels=[[9], [0]]))
    (x_train, y_train), _ = datasets.load("cifar10", tmp_path)
    assert x_train.shape == (2, 32, 32, 3)
    assert y_train.tolist() == [9, 0]


def test_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(write(tmp_path)))
    assert datasets.load("mnist")[0][1].tolist() == [3, 1]


def test_data_dir_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(datasets.DATA_VARIABLE, "/nowhere")
    assert datasets.load("mnist", write(tmp_path))[0][1].tolist() == [3, 1]


def test_without_a_folder_keras_downloads(monkeypatch):
    data = arrays()
    parts = (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: parts)
    assert datasets.load("mnist")[0][0].shape == (2, 28, 28, 1)


def test_failed_download_says_what_to_do(monkeypatch):
    def fail():
        raise Exception("URL fetch failure on\nhttps://host: None")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(ConnectionError, match=r"failure on https.*contains mnist\.npz"):
        datasets.load("mnist")


def test_unknown_name_lists_the_known_ones():
    message = r"'mnits'.*'cifar10', 'digits'.*Did you mean 'mnist'"
    with pytest.raises(ValueError, match=message):
        datasets.load("mnits")


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No folder .*absent.*mnist\.npz"):
        datasets.load("mnist", tmp_path / "absent")


def test_missing_file_says_what_is_looked_for_and_found(tmp_path):
    message = r"No file 'cifar10\.npz'.*fashion_mnist\.npz.*it has mnist\.npz\."
    with pytest.raises(FileNotFoundError, match=message):
        datasets.load("cifar10", write(tmp_path))
    (tmp_path / "mnist.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has none of them"):
        datasets.load("cifar10", tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def flip(path):
    content = bytearray(path.read_bytes())
    content[400] ^= 255
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("not an archive")


def single_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def without_labels(path):
    data = arrays()
    del data["y_test"]
    np.savez(path, **data)


@pytest.mark.parametrize(
    "damage", [cut, flip, empty, text, single_array, without_labels]
)
def test_damaged_file(tmp_path, damage):
    damage(write(tmp_path) / "mnist.npz")
    with pytest.raises(
        ValueError, match=r"mnist\.npz' cannot be read.*x_train, y_train"
    ):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": np.zeros((2, 28, 28))}, r"x_test of .*float64.*expected uint8"),
        ({"x_train": np.zeros((2, 32, 32), np.uint8)}, r"x_train of .*\(2, 32, 32\)"),
        ({"y_test": np.zeros(3, np.uint8)}, r"y_test of .*\(3,\).*shape \(2,\)"),
        ({"y_train": np.zeros(2)}, r"y_train of .*float64.*integer"),
        ({"y_train": np.array([0, 10])}, r"labels from 0 to 10"),
    ],
)
def test_other_contents(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("mnist", write(tmp_path, **changes))
