"""Latency of MobileNetV2, for which untrained weights do."""


def latency(lab):
    """Files of int8 and of Keras."""
    network = lab.mobile_net_v2()
    entries = [
        *lab.own(network, "converter_int8", "keras_float", "int8"),
        *lab.peers(network, "litert_quantizer", "static_int8", "dynamic_int8"),
    ]
    note = "MobileNetV2 at 224 x 224, untrained"
    return list(lab.measures(network, entries, note))


ROWS = {"latency, MobileNetV2": latency}
