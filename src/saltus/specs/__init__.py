"""Frozen, validated descriptions of what is run."""

from saltus.specs.base import Spec
from saltus.specs.interventions import BiasSpec
from saltus.specs.models import (
    BackboneSpec,
    ConvolutionSpec,
    CustomSpec,
    GatedDeltaNetSpec,
    LinearAttentionSpec,
    LinearRnnSpec,
    MambaSpec,
    MlpMixerSpec,
    MlstmSpec,
    ModelSpec,
    RwkvSpec,
    TransformerSpec,
)
from saltus.specs.run import RunSpec
from saltus.specs.tasks import (
    AssociativeRecallSpec,
    CellularAutomatonSpec,
    InductionSpec,
    LinearMapSpec,
    NoiseSpec,
    SubsetRecallSpec,
    TaskSpec,
)
from saltus.specs.training import EmergenceSpec, ScheduleSpec, TrainingSpec

__all__ = [
    "AssociativeRecallSpec",
    "BackboneSpec",
    "BiasSpec",
    "CellularAutomatonSpec",
    "ConvolutionSpec",
    "CustomSpec",
    "EmergenceSpec",
    "GatedDeltaNetSpec",
    "InductionSpec",
    "LinearAttentionSpec",
    "LinearMapSpec",
    "LinearRnnSpec",
    "MambaSpec",
    "MlpMixerSpec",
    "MlstmSpec",
    "ModelSpec",
    "NoiseSpec",
    "RunSpec",
    "RwkvSpec",
    "ScheduleSpec",
    "Spec",
    "SubsetRecallSpec",
    "TaskSpec",
    "TrainingSpec",
    "TransformerSpec",
]
