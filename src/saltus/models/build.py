"""ModelSpec -> module for one seed, an explicit table."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from saltus.errors import SaltusError
from saltus.models.custom import build_custom
from saltus.models.decoder import Decoder, Mixer, WithoutPattern
from saltus.models.mixers.attention import Attention
from saltus.models.mixers.convolution import Convolution
from saltus.models.mixers.gated_delta_net import GatedDeltaNet
from saltus.models.mixers.linear_attention import LinearAttention
from saltus.models.mixers.linear_rnn import LinearRnn
from saltus.models.mixers.mamba import Mamba
from saltus.models.mixers.mlp_mixer import MlpMixer
from saltus.models.mixers.mlstm import Mlstm
from saltus.models.mixers.rwkv import Rwkv
from saltus.specs import ModelSpec
from saltus.tasks.base import TaskFacts

MIXERS: dict[str, Callable[[Any, int], nn.Module]] = {
    "mlp_mixer": MlpMixer,
    "mamba": Mamba,
    "gated_delta_net": GatedDeltaNet,
    "rwkv": Rwkv,
    "mlstm": Mlstm,
    "linear_rnn": LinearRnn,
    "linear_attention": LinearAttention,
    "convolution": Convolution,
}
"""By the kind of its spec, the module that mixes tokens: (spec, number of queries) -> [n, q, m] to [n, q, m]."""


def build_model(spec: ModelSpec, facts: TaskFacts, init_seed: int) -> Decoder:
    """A freshly initialised model; the same `init_seed` gives the same weights whatever was drawn before."""

    def make_mixer() -> Mixer:
        if spec.kind == "transformer":
            return Attention(spec, facts.queries)
        if spec.kind == "custom":
            return WithoutPattern(build_custom(spec, facts.queries))
        return WithoutPattern(MIXERS[spec.kind](spec, facts.queries))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return Decoder(
            spec,
            make_mixer,
            symbols=facts.symbols,
            length=facts.queries,
            learned_positions=spec.positions == "learned",
        )


def count_parameters(spec: ModelSpec, facts: TaskFacts) -> int:
    """Numbers that are trained in one seed."""
    return sum(parameter.numel() for parameter in build_model(spec, facts, init_seed=0).parameters())


def match_parameters(models: Mapping[str, ModelSpec], facts: TaskFacts) -> dict[str, ModelSpec]:
    """The same models with as many parameters as the first of them has, as nearly as the width of the MLP allows.

    Raises:
        SaltusError: if one has more than that whatever its MLP is.

    """
    goal = count_parameters(next(iter(models.values())), facts)
    return {name: _match(name, model, goal, facts) for name, model in models.items()}


def _match(name: str, model: ModelSpec, goal: int, facts: TaskFacts) -> ModelSpec:
    narrow, wider = (count_parameters(model.model_copy(update={"d_mlp": width}), facts) for width in (1, 2))
    width = 1 + round((goal - narrow) / (wider - narrow))  # a unit more costs the same at every width
    if width < 1:
        raise SaltusError(
            f"{name} has {narrow:,} parameters with an MLP of one unit, more than the {goal:,} that it is matched to; "
            "make its mixer smaller, or the first model larger"
        )
    return model.model_copy(update={"d_mlp": width})
