"""Labels in the form of logits."""

from keras import ops


def class_probabilities(labels, logits):
    """Labels as probabilities `(..., classes)`, in the shape of the logits.

    Args:
        labels: class indices `(...)` or `(..., 1)`, or probabilities (one-hot)
            `(..., classes)`.
        logits: `(..., classes)`, at least two classes.

    Raises:
        ValueError: if the shapes do not match.

    >>> class_probabilities(np.array([2, 0]), np.zeros((2, 3))).numpy()
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = ops.convert_to_tensor(labels)
    rank, classes = len(logits.shape), logits.shape[-1]
    if len(labels.shape) == rank and labels.shape[-1] == classes:
        return ops.cast(labels, "float32")
    if len(labels.shape) == rank and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    if len(labels.shape) == rank - 1:
        return ops.one_hot(ops.cast(labels, "int32"), classes, dtype="float32")
    raise ValueError(
        f"Labels of shape {tuple(labels.shape)} do not match logits of shape "
        f"{tuple(logits.shape)}: expected class indices, one per prediction, or "
        f"probabilities of {classes} classes."
    )
