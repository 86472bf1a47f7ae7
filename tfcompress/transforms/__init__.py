"""Functions from a weight to a weight of the same shape."""

from tfcompress.core.nouns import WeightTransform
from tfcompress.core.plugin import register
from tfcompress.transforms.bfloat16 import BFloat16
from tfcompress.transforms.binary import Binary
from tfcompress.transforms.codebook import Codebook
from tfcompress.transforms.continuous_sparsification import ContinuousSparsification
from tfcompress.transforms.edge_popup import EdgePopup
from tfcompress.transforms.gaussian_weights import GaussianWeights
from tfcompress.transforms.group_normal_jeffreys import GroupNormalJeffreys
from tfcompress.transforms.half import Half
from tfcompress.transforms.hard_concrete import HardConcrete
from tfcompress.transforms.hashed import Hashed
from tfcompress.transforms.learned_step import LearnedStep
from tfcompress.transforms.log_normal import LogNormal
from tfcompress.transforms.mask import Mask
from tfcompress.transforms.movement import Movement
from tfcompress.transforms.pdp import PDP
from tfcompress.transforms.penalty import Penalty
from tfcompress.transforms.power_of_two import PowerOfTwo
from tfcompress.transforms.powerpropagation import Powerpropagation
from tfcompress.transforms.shift_attention import ShiftAttention
from tfcompress.transforms.soft_movement import SoftMovement
from tfcompress.transforms.soft_threshold import SoftThreshold
from tfcompress.transforms.sparse_variational_dropout import SparseVariationalDropout
from tfcompress.transforms.supermask import Supermask
from tfcompress.transforms.ternary import Ternary
from tfcompress.transforms.trained_ternary import TrainedTernary
from tfcompress.transforms.uniform import Uniform

get = WeightTransform.get
register(
    WeightTransform,
    BFloat16,
    Binary,
    Codebook,
    ContinuousSparsification,
    EdgePopup,
    GaussianWeights,
    GroupNormalJeffreys,
    Half,
    HardConcrete,
    Hashed,
    LearnedStep,
    LogNormal,
    Mask,
    Movement,
    PDP,
    Penalty,
    PowerOfTwo,
    Powerpropagation,
    ShiftAttention,
    SoftMovement,
    SoftThreshold,
    SparseVariationalDropout,
    Supermask,
    Ternary,
    TrainedTernary,
    Uniform,
)

__all__ = [
    "PDP",
    "BFloat16",
    "Binary",
    "Codebook",
    "ContinuousSparsification",
    "EdgePopup",
    "GaussianWeights",
    "GroupNormalJeffreys",
    "Half",
    "HardConcrete",
    "Hashed",
    "LearnedStep",
    "LogNormal",
    "Mask",
    "Movement",
    "Penalty",
    "PowerOfTwo",
    "Powerpropagation",
    "ShiftAttention",
    "SoftMovement",
    "SoftThreshold",
    "SparseVariationalDropout",
    "Supermask",
    "Ternary",
    "TrainedTernary",
    "Uniform",
    "WeightTransform",
    "get",
]
