"""Networks rounded after training."""

_PROGRAMS = "static_int8 static_int8_octav dynamic_int8".split()
_FOUR_BITS = "int4 int4_octav int4_mse int4_gptq mixed".split()
_OURS = "int8 int8_coded int4 int4_gptq mixed".split()


def _compare(lab, network, note):
    entries = [
        *lab.own(network, "converter_int8", "keras_float", "keras_int8", "keras_int4"),
        *lab.peers(network, "litert_quantizer", *_PROGRAMS, *_FOUR_BITS),
        *lab.own(network, *_OURS),
    ]
    return list(lab.measures(network, entries, note))


def lenet_5(lab):
    """The small one."""
    note = "LeNet-5 on MNIST, trained for 2 epochs; 256 samples"
    return _compare(lab, lab.lenet_5(), note)


def resnet_20(lab):
    """The one that few bits hurt."""
    note = "ResNet-20 on CIFAR-10, trained before; 512 samples"
    return _compare(lab, lab.resnet_20(), note)


ROWS = {"after_training, LeNet-5": lenet_5, "after_training, ResNet-20": resnet_20}
