"""Backbones of KerasHub from small configurations, without downloads."""

import functools
import os

import keras
import numpy as np

from zoo_models import NUM_SAMPLES, Specimen, noise, pictures, words

_LENGTH = 12
_VOCABULARY = 120
_SIZE = 64
# Arguments of the usual transformer, and of those with other names for heads.
_SMALL = {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 48}
_HEADS = _SMALL | {"num_heads": 2}
_QUERIES = _SMALL | {"num_query_heads": 4, "num_key_value_heads": 2}
_MODEL_WORDS = {"vocabulary_size": _VOCABULARY}
_IDS = ("token_ids", "padding_mask")
_SEGMENTS = (*_IDS, "segment_ids")
_PAIRS = tuple(f"{part}_{name}" for part in ("encoder", "decoder") for name in _IDS)


def _text(class_name, inputs, arguments, fixed_length=True):
    """A text backbone; it accepts any length unless it is called on a fixed one."""
    import keras_hub

    backbone = getattr(keras_hub.models, f"{class_name}Backbone")(**arguments)
    arrays = {
        name: np.ones((NUM_SAMPLES, _LENGTH), "int32")
        if name.endswith("mask")
        else words(_LENGTH, 2 if name == "segment_ids" else _VOCABULARY, lowest=0)
        for name in inputs
    }
    if not fixed_length:
        return Specimen(backbone, arrays)
    fixed = {name: keras.Input((_LENGTH,), dtype="int32", name=name) for name in inputs}
    model = keras.Model(fixed, backbone(fixed), name=class_name.lower())
    return Specimen(model, arrays)


def _image(class_name, arguments):
    """An image backbone."""
    import keras_hub

    backbone = getattr(keras_hub.models, f"{class_name}Backbone")
    size = "input_shape" if class_name == "EfficientNet" else "image_shape"
    model = backbone(**arguments, **{size: (_SIZE, _SIZE, 3)})
    return Specimen(model, pictures(_SIZE))


def _mix_transformer():
    return _image(
        "MiT",
        {
            "layerwise_depths": [1, 1],
            "num_layers": 2,
            "layerwise_num_heads": [1, 2],
            "layerwise_sr_ratios": [8, 4],
            "max_drop_path_rate": 0.1,
            "layerwise_patch_sizes": [7, 3],
            "layerwise_strides": [4, 2],
            "hidden_dims": [16, 24],
        },
    )


def _segformer():
    import keras_hub

    encoder = keras_hub.models.MiTBackbone(
        layerwise_depths=[1, 1, 1, 1],
        num_layers=4,
        layerwise_num_heads=[1, 2, 2, 4],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        image_shape=(_SIZE, _SIZE, 3),
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        hidden_dims=[8, 16, 24, 32],
    )
    model = keras_hub.models.SegFormerBackbone(encoder, projection_filters=16)
    return Specimen(model, pictures(_SIZE))


def _whisper():
    import keras_hub

    backbone = keras_hub.models.WhisperBackbone(
        **_MODEL_WORDS,
        **_HEADS,
        max_encoder_sequence_length=16,
        max_decoder_sequence_length=_LENGTH,
    )
    fixed = {
        "encoder_features": keras.Input((16, 80), name="encoder_features"),
        "decoder_token_ids": keras.Input(
            (_LENGTH,), dtype="int32", name="decoder_token_ids"
        ),
        "decoder_padding_mask": keras.Input(
            (_LENGTH,), dtype="int32", name="decoder_padding_mask"
        ),
    }
    arrays = {
        "encoder_features": noise(16, 80),
        "decoder_token_ids": words(_LENGTH, _VOCABULARY),
        "decoder_padding_mask": np.ones((NUM_SAMPLES, _LENGTH), "int32"),
    }
    return Specimen(keras.Model(fixed, backbone(fixed), name="whisper"), arrays)


def _texts():
    """`{name: (class, inputs, arguments)}`."""
    plain = _MODEL_WORDS | _HEADS
    grouped = _MODEL_WORDS | _QUERIES
    gemma = grouped | {"head_dim": 8}
    albert = plain | {"embedding_dim": 16}
    falcon = _MODEL_WORDS | _SMALL | {"num_attention_heads": 2}
    electra = _HEADS | {"vocab_size": _VOCABULARY, "embedding_dim": 16}
    return {
        "bert": ("Bert", _SEGMENTS, plain),
        "roberta": ("Roberta", _IDS, plain),
        "distilbert": ("DistilBert", _IDS, plain),
        "albert": ("Albert", _SEGMENTS, albert),
        "electra": ("Electra", _SEGMENTS, electra),
        "deberta": ("DebertaV3", _IDS, plain | {"bucket_size": 8}),
        "fnet": ("FNet", ("token_ids", "segment_ids"), _MODEL_WORDS | _SMALL),
        "gpt2": ("GPT2", _IDS, plain),
        "gpt_neox": ("GPTNeoX", _IDS, plain),
        "opt": ("OPT", _IDS, plain),
        "bloom": ("Bloom", _IDS, plain),
        "falcon": ("Falcon", _IDS, falcon),
        "llama": ("Llama", _IDS, grouped),
        "mistral": ("Mistral", _IDS, grouped),
        "gemma": ("Gemma", _IDS, gemma),
        "gemma3": ("Gemma3", _IDS, gemma | {"image_size": 16}),
        "phi3": ("Phi3", _IDS, grouped),
        "qwen": ("Qwen", _IDS, grouped),
        "qwen3": ("Qwen3", _IDS, grouped | {"head_dim": 8}),
        "t5": ("T5", _PAIRS, plain),
        "bart": ("Bart", _PAIRS, plain),
    }


def _images():
    """`{name: (class, arguments)}`."""
    vit = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32}
    stages = {
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
    }
    resnet = stages | {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    cspnet = {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 2,
        "stem_padding": "same",
        "bottle_ratio": [0.5],
        "block_ratio": [0.5],
        "stackwise_depth": [1, 1],
        "stackwise_strides": 2,
        "stackwise_num_filters": [16, 24],
        "block_type": "dark_block",
        "stage_type": "csp",
    }
    efficientnet = {
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 16],
        "stackwise_expansion_ratios": [1, 4],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["v1", "v1"],
        "stem_filters": 8,
    }
    return {
        "vit": ("ViT", vit | {"mlp_dim": 48}),
        "deit": ("DeiT", vit | {"intermediate_dim": 48}),
        "resnet_basic": ("ResNet", resnet | {"block_type": "basic_block"}),
        "resnet_vd": (
            "ResNet",
            resnet
            | {
                "block_type": "bottleneck_block_vd",
                "input_conv_filters": [4, 4, 8],
                "input_conv_kernel_sizes": [3, 3, 3],
            },
        ),
        "cspdarknet": ("CSPNet", cspnet),
        "efficientnet": ("EfficientNet", efficientnet),
        "densenet": ("DenseNet", {"stackwise_num_repeats": [2, 2], "growth_rate": 8}),
        "vgg": (
            "VGG",
            {"stackwise_num_repeats": [1, 2], "stackwise_num_filters": [8, 16]},
        ),
        "xception": (
            "Xception",
            {
                "stackwise_conv_filters": [[8, 16], [24, 24]],
                "stackwise_pooling": [True, False],
            },
        ),
        "mobilenet": (
            "MobileNet",
            {
                "stackwise_expansion": [[40, 56], [64, 144]],
                "stackwise_num_blocks": [2, 2],
                "stackwise_num_filters": [[16, 16], [24, 24]],
                "stackwise_kernel_size": [[3, 3], [5, 5]],
                "stackwise_num_strides": [[2, 1], [2, 1]],
                "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
                "stackwise_activation": [
                    ["relu", "relu"],
                    ["hard_swish", "hard_swish"],
                ],
                "stackwise_padding": [[1, 1], [2, 2]],
                "output_num_filters": 64,
                "depthwise_filters": 8,
                "depthwise_stride": 2,
                "depthwise_residual": False,
                "last_layer_filter": 64,
                "squeeze_and_excite": 0.5,
            },
        ),
    }


def _builders():
    texts = {name: functools.partial(_text, *args) for name, args in _texts().items()}
    images = {
        name: functools.partial(_image, *args) for name, args in _images().items()
    }
    any_length = functools.partial(_text, *_texts()["bert"], fixed_length=False)
    others = {
        "bert_any_length": any_length,
        "mit": _mix_transformer,
        "segformer": _segformer,
        "whisper": _whisper,
    }
    found = texts | images | others
    return {f"hub_{name}": build for name, build in found.items()}


BACKBONES = _builders()


def build(name):
    """The `Specimen` of a backbone."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return BACKBONES[name]()
