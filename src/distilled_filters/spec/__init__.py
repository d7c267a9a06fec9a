"""The typed, frozen specs behind `filter.toml` and `backbone.toml`.

Every number that acts on a score lives in a spec; a spec that breaks a rule never
becomes a filter.
"""

from distilled_filters.spec.checkpoints import (
    CascadeCheckpoint,
    Checkpoint,
    EnsembleCheckpoint,
    Expert,
    LinearCheckpoint,
    LoraCheckpoint,
    MergedCheckpoint,
    ModelWindow,
    Weights,
)
from distilled_filters.spec.document import NAME_PATTERN, FileRef, HubSource, problems_of
from distilled_filters.spec.filters import FilterSpec, read_filter_spec
from distilled_filters.spec.lens import Dimension, Gate, LensSpec, OracleReading, Preprocessing, Tier, read_lens_spec
from distilled_filters.spec.models import BackboneSpec, DecoderSpec, MergedSpec, joined_digest, read_backbone_spec

__all__ = [
    "NAME_PATTERN",
    "BackboneSpec",
    "CascadeCheckpoint",
    "Checkpoint",
    "DecoderSpec",
    "Dimension",
    "EnsembleCheckpoint",
    "Expert",
    "FileRef",
    "FilterSpec",
    "Gate",
    "HubSource",
    "LensSpec",
    "LinearCheckpoint",
    "LoraCheckpoint",
    "MergedCheckpoint",
    "MergedSpec",
    "ModelWindow",
    "OracleReading",
    "Preprocessing",
    "Tier",
    "Weights",
    "joined_digest",
    "problems_of",
    "read_backbone_spec",
    "read_filter_spec",
    "read_lens_spec",
]
