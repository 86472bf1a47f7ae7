import distillation_digits
import numpy as np


def test_images_are_shifted_by_up_to_two_pixels():
    images = np.zeros((400, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    labels = np.arange(400)
    x, y = distillation_digits.shifted(images, labels)(np.arange(399, -1, -1))
    where = np.argwhere(x.numpy())
    np.testing.assert_array_equal(where[:, 0], np.arange(400))
    assert set(map(tuple, where[:, 1:3])) == {
        (i, j) for i in range(2, 7) for j in range(2, 7)
    }
    np.testing.assert_array_equal(y, labels[::-1])


def test_the_best_bias_is_the_smallest_that_makes_the_fewest_errors():
    # The 3 trails by 2; another image becomes wrong beyond 5.
    outputs = np.zeros((2, 10))
    outputs[0, 0], outputs[1, 1] = 2.05, 5.05
    assert distillation_digits.best_bias(outputs, np.array([3, 1])) == 2.1


def test_probabilities_are_averaged():
    logits = np.log(np.array([[[0.2, 0.8]], [[0.6, 0.4]]], np.float32))
    averaged = distillation_digits.averaged(logits + np.array([[[0]], [[9]]]))
    np.testing.assert_allclose(np.exp(averaged), [[0.4, 0.6]], rtol=1e-5)
    certain = np.array([[[0, 300]]] * 2, np.float32)
    np.testing.assert_allclose(distillation_digits.averaged(certain), [[-300, 0]])
