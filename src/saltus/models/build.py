"""ModelSpec -> module for one seed."""

from collections.abc import Mapping

import torch

from saltus.errors import SaltusError
from saltus.models.decoder import Decoder, Mixer, WithoutPattern
from saltus.specs.kinds import find_class
from saltus.specs.models import ModelSpec
from saltus.tasks.base import TaskFacts


def build_model(spec: ModelSpec, facts: TaskFacts, init_seed: int) -> Decoder:
    """A freshly initialised model; the same `init_seed` gives the same weights whatever was drawn before."""

    def make_mixer() -> Mixer:
        module = find_class(spec.builds)(spec, facts.queries)
        return module if spec.attention_heads else WithoutPattern(module)

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
        SaltusError: if one has more than that whatever its MLP is, or has no MLP.

    """
    goal = count_parameters(next(iter(models.values())), facts)
    return {name: _match(name, model, goal, facts) for name, model in models.items()}


def _match(name: str, model: ModelSpec, goal: int, facts: TaskFacts) -> ModelSpec:
    if not model.mlp_width:
        if (own := count_parameters(model, facts)) == goal:
            return model
        raise SaltusError(
            f"{name} has no MLP (d_mlp is 0) and {own:,} parameters, not the {goal:,} that it is matched to; the width "
            "of the MLP is what is matched, so give it one, or the first model as many parameters"
        )
    narrow, wider = (count_parameters(model.model_copy(update={"d_mlp": width}), facts) for width in (1, 2))
    width = 1 + round((goal - narrow) / (wider - narrow))  # a unit more costs the same at every width
    if width < 1:
        raise SaltusError(
            f"{name} has {narrow:,} parameters with an MLP of one unit, more than the {goal:,} that it is matched to; "
            "make its mixer smaller, or the first model larger"
        )
    return model.model_copy(update={"d_mlp": width})
