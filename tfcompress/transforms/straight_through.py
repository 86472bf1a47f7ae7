"""Gradients of functions that have none."""

import tensorflow as tf


def straight_through(function, weight):
    """`function(weight)` with the gradient of the identity.

    Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic
    Neurons for Conditional Computation" (2013).
    """

    @tf.custom_gradient
    def forward(x):
        return function(x), lambda upstream: upstream

    return forward(weight)
