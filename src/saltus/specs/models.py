"""Descriptions of models: one backbone, and what stands in the place of attention.

A mixer is added here, with the class that its description builds.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from saltus.specs.base import Spec
from saltus.specs.kinds import of_kind
from saltus.specs.source import check_source, extract_source, unwrap_options

__all__ = [
    "ConvolutionSpec",
    "CustomSpec",
    "GatedDeltaNetSpec",
    "LinearAttentionSpec",
    "LinearRnnSpec",
    "MambaSpec",
    "MlpMixerSpec",
    "MlstmSpec",
    "RwkvSpec",
    "TransformerSpec",
]


class BackboneSpec(Spec):
    """What every model has around its token mixer: embedding, pre-normalisation, residual stream, MLP with GELU.

    Normalisation and MLP can be left out.
    """

    builds: ClassVar[str]
    """Where the mixer is, as `module:Class`; it is made as Class(spec, queries) and is a module that maps
    [sequence, query, d_model] to the same shape."""

    kind: Any
    """A string, and one literal in each kind."""
    positions: Any
    """A string: 'learned', 'none', or what else a kind has."""
    layers: int = Field(default=1, ge=1, le=64)
    d_model: int = Field(default=128, ge=1, le=8192)
    d_mlp: int | None = Field(
        default=None, ge=0, le=65536, description="width of the MLP; 0 for no MLP, 4 * d_model if None"
    )
    layer_norm: bool = Field(
        default=True, description="before each mixer, each MLP and the unembedding; False for none"
    )
    tied_embeddings: bool = Field(default=False, description="whether embedding and unembedding are one matrix")
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="share of what each mixer and each MLP adds to the residual stream that is left out in training",
    )

    @property
    def mlp_width(self) -> int:
        """d_mlp, or 4 * d_model where it is not given; 0 where there is no MLP."""
        return 4 * self.d_model if self.d_mlp is None else self.d_mlp

    @property
    def branches(self) -> int:
        """Mixers and MLPs of all layers: what adds to the residual stream."""
        return self.layers * (2 if self.mlp_width else 1)

    @property
    def attention_heads(self) -> int:
        """Heads of a layer whose patterns can be read and biased: none unless the mixer is attention."""
        return 0


class HeadedSpec(BackboneSpec):
    """A backbone whose token mixer works in heads."""

    heads: int = Field(default=8, ge=1, le=1024)
    d_head: int | None = Field(default=None, ge=1, le=1024, description="dimension of a head; d_model / heads if None")

    @property
    def head_dimension(self) -> int:
        """d_head, or d_model / heads where it is not given."""
        return self.d_head or self.d_model // self.heads

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.d_head is None and self.d_model % self.heads:
            raise ValueError(
                f"heads is {self.heads}, which does not divide d_model {self.d_model}; "
                "choose a divisor or give d_head, which is free"
            )
        return self


class TransformerSpec(HeadedSpec):
    """A decoder with pre-normalisation, GELU and written-out attention."""

    builds: ClassVar[str] = "saltus.models.mixers.attention:Attention"

    kind: Literal["transformer"] = "transformer"
    positions: Literal["learned", "rotary", "none"] = "learned"

    @property
    def attention_heads(self) -> int:
        """Heads of a layer whose patterns can be read and biased: all of them."""
        return self.heads

    @model_validator(mode="after")
    def _check_rotary(self) -> Self:
        if self.positions == "rotary" and self.head_dimension % 2:
            raise ValueError(f"d_head is {self.head_dimension}; rotary positions need an even number")
        return self


class MixerSpec(BackboneSpec):
    """A backbone with another token mixer than attention: positions are learned vectors, or there are none."""

    positions: Literal["learned", "none"] = "learned"


class MlpMixerSpec(MixerSpec):
    """A learned causal matrix over positions (arXiv 2105.01601, made causal; arXiv 2606.25010)."""

    builds: ClassVar[str] = "saltus.models.mixers.mlp_mixer:MlpMixer"

    kind: Literal["mlp_mixer"] = "mlp_mixer"
    variant: Literal["single", "heads", "hidden"] = Field(
        default="single",
        description="one matrix for all channels, one for each head between projections, or two with a GELU between",
    )
    heads: int | None = Field(default=None, ge=1, le=1024, description="matrices of the variant 'heads'")

    @model_validator(mode="after")
    def _check_variant(self) -> Self:
        if self.variant != "heads" and self.heads is not None:
            raise ValueError(f"heads is {self.heads} and variant is {self.variant!r}; only the variant 'heads' has any")
        if self.variant == "heads" and (self.heads is None or self.d_model % self.heads):
            raise ValueError(
                f"heads is {self.heads}; the variant 'heads' needs a number that divides d_model {self.d_model}"
            )
        return self


class MambaSpec(MixerSpec):
    """Selective state space (arXiv 2312.00752)."""

    builds: ClassVar[str] = "saltus.models.mixers.mamba:Mamba"

    kind: Literal["mamba"] = "mamba"
    d_state: int = Field(default=16, ge=1, le=1024, description="N, states of a channel")
    expansion: int = Field(default=2, ge=1, le=16, description="channels of the state space / d_model")
    conv_width: int = Field(default=4, ge=1, le=64, description="tokens that the short convolution sees")
    d_step: int | None = Field(default=None, ge=1, le=8192, description="rank of the step size; d_model / 16 if None")

    @property
    def step_rank(self) -> int:
        """d_step, or d_model / 16, rounded up, where it is not given."""
        return self.d_step or math.ceil(self.d_model / 16)


class GatedDeltaNetSpec(MixerSpec, HeadedSpec):
    """Gated delta rule (arXiv 2412.06464); d_head is the dimension of queries and keys."""

    builds: ClassVar[str] = "saltus.models.mixers.gated_delta_net:GatedDeltaNet"

    kind: Literal["gated_delta_net"] = "gated_delta_net"
    expansion: int = Field(default=2, ge=1, le=16, description="dimension of a value / dimension of a key")
    conv_width: int = Field(default=4, ge=1, le=64, description="tokens that the short convolution sees")


class RwkvSpec(MixerSpec):
    """Time mixing of RWKV-4 (arXiv 2305.13048)."""

    builds: ClassVar[str] = "saltus.models.mixers.rwkv:Rwkv"

    kind: Literal["rwkv"] = "rwkv"


class MlstmSpec(MixerSpec, HeadedSpec):
    """Matrix LSTM of xLSTM (arXiv 2405.04517, in the layer of arXiv 2503.13427); d_head is the dimension of values."""

    builds: ClassVar[str] = "saltus.models.mixers.mlstm:Mlstm"

    kind: Literal["mlstm"] = "mlstm"
    d_key: int | None = Field(
        default=None, ge=1, le=1024, description="dimension of queries and keys; half of d_head, rounded up, if None"
    )

    @property
    def key_dimension(self) -> int:
        """d_key, or half of d_head, rounded up, where it is not given."""
        return self.d_key or math.ceil(self.head_dimension / 2)


class LinearRnnSpec(MixerSpec):
    """Gated linear recurrence of Griffin, RG-LRU (arXiv 2402.19427)."""

    builds: ClassVar[str] = "saltus.models.mixers.linear_rnn:LinearRnn"

    kind: Literal["linear_rnn"] = "linear_rnn"
    d_state: int | None = Field(default=None, ge=1, le=65536, description="width of the recurrence; d_model if None")
    heads: int = Field(default=8, ge=1, le=1024, description="blocks of the gates' block-diagonal matrices")
    conv_width: int = Field(default=4, ge=1, le=64, description="tokens that the short convolution sees")

    @property
    def state_dimension(self) -> int:
        """d_state, or d_model where it is not given."""
        return self.d_state or self.d_model

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if self.state_dimension % self.heads:
            raise ValueError(
                f"heads is {self.heads}, which does not divide the width of the recurrence {self.state_dimension}; "
                "choose a divisor or another d_state"
            )
        return self


class LinearAttentionSpec(MixerSpec, HeadedSpec):
    """Causal linear attention with the feature map elu + 1 (arXiv 2006.16236)."""

    builds: ClassVar[str] = "saltus.models.mixers.linear_attention:LinearAttention"

    kind: Literal["linear_attention"] = "linear_attention"


class ConvolutionSpec(MixerSpec):
    """A causal depthwise convolution between two projections: a baseline that sees a fixed window."""

    builds: ClassVar[str] = "saltus.models.mixers.convolution:Convolution"

    kind: Literal["convolution"] = "convolution"
    conv_width: int = Field(default=4, ge=1, le=64, description="tokens that a token sees, itself included")


class CustomSpec(MixerSpec):
    """A module of the user's own, described by its code: `CustomSpec.of(MyModule, layers=1, d_model=128)`."""

    builds: ClassVar[str] = "saltus.models.custom:build_custom"

    kind: Literal["custom"] = "custom"
    name: str = Field(description="the class in `source`; made as name(d_model, queries, **options)")
    source: str = Field(max_length=100_000, description="Python code that defines it")
    options: dict[str, bool | int | float | str] = Field(default={}, description="further arguments of the class")

    @classmethod
    def of(cls, module: type, *, options: dict[str, Any] | None = None, **backbone: Any) -> Self:
        """Describe a class that is defined at the top level of a study file; `backbone` are the other keys.

        Its objects map [sequence, query, d_model] to the same shape and must not look ahead: docs/own-mixer.md.
        """
        given = unwrap_options(options or {})
        return cls(name=module.__name__, source=extract_source(module), options=given, **backbone)

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        check_source(self.name, self.source)
        return self


MODELS: dict[str, type[BackboneSpec]] = {
    "transformer": TransformerSpec,
    "mlp_mixer": MlpMixerSpec,
    "mamba": MambaSpec,
    "gated_delta_net": GatedDeltaNetSpec,
    "rwkv": RwkvSpec,
    "mlstm": MlstmSpec,
    "linear_rnn": LinearRnnSpec,
    "linear_attention": LinearAttentionSpec,
    "convolution": ConvolutionSpec,
    "custom": CustomSpec,
}
"""Every kind of model, by its mixer."""

ModelSpec = Annotated[SerializeAsAny[BackboneSpec], of_kind(MODELS)]
