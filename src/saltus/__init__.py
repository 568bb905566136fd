"""saltus: when a capability appears in training, why, how reliably over seeds, and how to make it come sooner."""

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import (
    AssociativeRecallSpec,
    BiasSpec,
    CellularAutomatonSpec,
    ConvolutionSpec,
    EmergenceSpec,
    GatedDeltaNetSpec,
    InductionSpec,
    LinearAttentionSpec,
    LinearMapSpec,
    LinearRnnSpec,
    MambaSpec,
    MlpMixerSpec,
    MlstmSpec,
    RunSpec,
    RwkvSpec,
    ScheduleSpec,
    SubsetRecallSpec,
    TrainingSpec,
    TransformerSpec,
)

__all__ = [
    "AssociativeRecallSpec",
    "BiasSpec",
    "CellularAutomatonSpec",
    "ConvolutionSpec",
    "EmergenceSpec",
    "GatedDeltaNetSpec",
    "InductionSpec",
    "LinearAttentionSpec",
    "LinearMapSpec",
    "LinearRnnSpec",
    "MambaSpec",
    "MlpMixerSpec",
    "MlstmSpec",
    "RunSpec",
    "RwkvSpec",
    "SaltusError",
    "ScheduleSpec",
    "SubsetRecallSpec",
    "TrainingSpec",
    "TransformerSpec",
    "api",
]
