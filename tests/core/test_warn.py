import keras
import pytest

import tfcompress as tfc


def test_points_at_the_line_that_called_however_deep():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="replaced no layer") as caught:
        tfc.factorize(model, "tucker", verbose=0)
    assert caught[0].filename == __file__
