"""Keras callbacks."""

from tfcompress.measuring.tensorboard_logger import TensorBoardLogger
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.channels.callback import ChannelPruning
from tfcompress.pruning.lifelong import LifelongImportance
from tfcompress.pruning.penalties.group_norm_regularization import (
    GroupNormRegularization,
)
from tfcompress.pruning.penalties.growing_regularization import GrowingRegularization
from tfcompress.pruning.penalties.learning_compression import LearningCompression
from tfcompress.pruning.penalties.proximal_step import ProximalStep
from tfcompress.pruning.penalties.selective_weight_decay import SelectiveWeightDecay
from tfcompress.pruning.sparse_training.ac_dc import ACDC
from tfcompress.pruning.sparse_training.dsr import DSR
from tfcompress.pruning.sparse_training.rigl import RigL
from tfcompress.pruning.sparse_training.set import SET
from tfcompress.pruning.sparse_training.snfs import SNFS
from tfcompress.pruning.sparse_training.srigl import SRigL
from tfcompress.quantization.bit_annealing import BitAnnealing
from tfcompress.transforms.annealing import Annealing
from tfcompress.transforms.penalty_warmup import PenaltyWarmup
from tfcompress.transforms.staging import Staging

__all__ = [
    "ACDC",
    "DSR",
    "SET",
    "SNFS",
    "Annealing",
    "BitAnnealing",
    "ChannelPruning",
    "GroupNormRegularization",
    "GrowingRegularization",
    "LearningCompression",
    "LifelongImportance",
    "PenaltyWarmup",
    "ProximalStep",
    "Pruning",
    "RigL",
    "SRigL",
    "SelectiveWeightDecay",
    "Staging",
    "TensorBoardLogger",
]
