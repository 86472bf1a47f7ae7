"""Rebuilds a model of Keras 2 from its `.h5` file, without Keras 2.

Keras 3 reads such files too, but not depthwise or transposed convolutions, recurrent
layers, nested models, calls with keyword tensors, TensorFlow operators, layer names
with a slash or mixed precision, and it takes the old `hard_sigmoid` for the new one.
"""

import json
import math

import h5py
import keras
import numpy as np

# Options that Keras 3 dropped, with the values under which they do nothing.
_NOTHING = (None, False, 1)
_ANYTHING = object()
_DROPPED = {
    "DepthwiseConv1D": {"groups": _NOTHING},
    "DepthwiseConv2D": {"groups": _NOTHING},
    "SeparableConv1D": {"groups": _NOTHING},
    "SeparableConv2D": {"groups": _NOTHING},
    "Conv1DTranspose": {"groups": _NOTHING},
    "Conv2DTranspose": {"groups": _NOTHING},
    "Conv3DTranspose": {"groups": _NOTHING},
    "BatchNormalization": {
        "renorm": _NOTHING,
        "renorm_clipping": _ANYTHING,
        "renorm_momentum": _ANYTHING,
        "virtual_batch_size": _NOTHING,
        "fused": _ANYTHING,
        "adjustment": _NOTHING,
    },
    "SpatialDropout1D": {"noise_shape": _ANYTHING},
    "SpatialDropout2D": {"noise_shape": _ANYTHING},
    "SpatialDropout3D": {"noise_shape": _ANYTHING},
    "MultiHeadAttention": {
        "query_shape": _ANYTHING,
        "key_shape": _ANYTHING,
        "value_shape": _ANYTHING,
        "softmax_robust_masking": _ANYTHING,
    },
}
_DROPPED_ANYWHERE = {
    "time_major": _NOTHING,
    "rng_type": _ANYTHING,
    "input_length": _ANYTHING,
    "batch_input_shape": _ANYTHING,
}
_LAYER_OPTIONS = ("layer", "backward_layer", "cell", "cells")
_MODELS = {"Sequential", "Functional", "Model"}

_REDUCTIONS = {
    "math.reduce_mean": keras.ops.mean,
    "math.reduce_sum": keras.ops.sum,
    "math.reduce_max": keras.ops.max,
    "math.reduce_min": keras.ops.min,
}
# TensorFlow functions called on Keras tensors, and what computes the same.
_OPERATIONS = {
    **{name: (lambda f: lambda x, axis=None, keepdims=False: f(x, axis, keepdims=bool(keepdims)))(f) for name, f in _REDUCTIONS.items()},
}
