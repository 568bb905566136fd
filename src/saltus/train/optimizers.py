"""How gradients change parameters: PyTorch's own optimisers, on views of flat arrays.

The parameters of the seeds of a run are one array, [seed, parameter], and so are their gradient and each of the
optimiser's moments. PyTorch's optimisers are given views of all of them: what they change in place is what is saved,
and each matrix of each seed can be a parameter of its own. They are taken as functions where PyTorch offers that: its
classes import its compiler, a second and a half in every process that trains.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Muon
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from saltus.errors import SaltusError
from saltus.models.decoder import Decoder
from saltus.specs import TrainingSpec
from saltus.train.schedule import learning_rate_at

PACKED, PARTS = "query_key_value", ("query", "key", "value")
"""A weight that is three, one behind the other, and the names by which `TrainingSpec.rates` knows them."""


class _Weight(NamedTuple):
    """A weight of the model, and where it is in the flat parameters."""

    name: str
    start: int
    shape: torch.Size

    @property
    def stop(self) -> int:
        return self.start + self.shape.numel()


class _Update(NamedTuple):
    """What a part of the optimiser is given; each of the lists has an array for each of its parameters."""

    rate: float
    parameters: list[Tensor]
    """Changed in place."""
    gradients: list[Tensor]
    moments: Sequence[list[Tensor]]
    """Changed in place."""
    counts: list[Tensor]
    """Updates done, counted where that is needed."""


class _Part(NamedTuple):
    """One of PyTorch's optimisers, and what it is given."""

    cut: Callable[[Tensor], list[Tensor]]
    """Of an array [seed, parameter] the views that are its parameters, gradients or moments."""
    moments: tuple[str, ...]
    """What it keeps of earlier gradients, in its own words."""
    change: Callable[[_Update], object]
    """Does an update, in place."""


class Optimizer:
    """The optimiser of the seeds of one run, at the rates of its schedule."""

    def __init__(self, spec: TrainingSpec, parameters: Tensor, model: Decoder) -> None:
        """`parameters`, [seed, parameter], are changed in place; `model` has their names and shapes.

        Raises:
            SaltusError: if the optimiser or the rates are for weights that the model does not have.

        """
        self._spec, self._parameters = spec, parameters
        weights = _list_weights(model)
        self._factors = _build_factors(spec.rates, weights).to(parameters.device) if spec.rates else None
        self._parts = _BUILDERS[spec.optimizer](spec, parameters, weights, model)
        names = dict.fromkeys(name for part in self._parts for name in part.moments)
        self._moments = {name: torch.zeros_like(parameters) for name in names}
        self._given = [
            (part.cut(parameters), [part.cut(self._moments[name]) for name in part.moments]) for part in self._parts
        ]
        """Of each part its parameters, and its moments."""
        self._counts = [[torch.zeros((), device=parameters.device) for _ in views] for views, _ in self._given]
        """Updates done, of each part, for each of its parameters."""

    @torch.no_grad()
    def update(self, step: int, gradient: Tensor) -> None:
        """Do update `step` (0 is the first) by the gradient [seed, parameter]."""
        before = None if self._factors is None else self._parameters.clone()
        rate = learning_rate_at(self._spec, step)
        for part, (parameters, moments), counts in zip(self._parts, self._given, self._counts, strict=True):
            part.change(_Update(rate, parameters, part.cut(gradient), moments, counts))
        if before is not None and self._factors is not None:
            # No moment depends on the rate, and what is added is proportional to it, weight decay included.
            torch.lerp(before, self._parameters, self._factors, out=self._parameters)

    def read(self, seed: int) -> dict[str, Tensor]:
        """The moments of a seed by name, flat. `seed` is its place among the run's."""
        return {name: moment[seed] for name, moment in self._moments.items()}

    def write(self, seed: int, step: int, moments: Mapping[str, Tensor]) -> None:
        """Go on from the moments of a seed, as `read` gave them after `step` updates."""
        for name, moment in self._moments.items():
            moment[seed].copy_(moments[name])
        for counts in self._counts:
            for count in counts:
                count.fill_(step)


def check_optimizer(spec: TrainingSpec, model: Decoder) -> None:
    """Raise a SaltusError if the optimiser or the rates are for weights that the model does not have."""
    Optimizer(spec, torch.zeros(1, sum(value.numel() for value in model.parameters())), model)


def _build_adamw(
    spec: TrainingSpec, parameters: Tensor, weights: Sequence[_Weight], model: Decoder
) -> tuple[_Part, ...]:
    return (_make_adamw(spec, _take_whole),)


def _build_sgd(spec: TrainingSpec, parameters: Tensor, weights: Sequence[_Weight], model: Decoder) -> tuple[_Part, ...]:
    def change(given: _Update) -> None:
        sgd(
            given.parameters,
            given.gradients,
            [*given.moments[0]],
            lr=given.rate,
            momentum=spec.momentum or 0.0,
            dampening=0.0,
            weight_decay=spec.weight_decay,
            nesterov=False,
            maximize=False,
        )

    return (_Part(_take_whole, ("momentum_buffer",), change),)


def _build_muon(
    spec: TrainingSpec, parameters: Tensor, weights: Sequence[_Weight], model: Decoder
) -> tuple[_Part, ...]:
    """Muon for the matrices of the blocks' linear layers, one by one, and AdamW for everything else.

    The size of an update is that of AdamW's (arXiv 2502.16982), so both have one learning rate and one weight decay.
    """
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    matrices = [each for each in weights if each.name.startswith("blocks.") and each.name in linear]
    if not matrices:
        raise SaltusError(
            "training.optimizer: 'muon' was given, which is for the matrices of linear layers, and the model's blocks "
            "have none; take 'adamw' or 'sgd'"
        )
    muon = Muon(
        _cut(parameters, matrices),
        momentum=0.95 if spec.momentum is None else spec.momentum,
        weight_decay=spec.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )

    def change(given: _Update) -> None:
        (group,) = muon.param_groups
        group["lr"] = given.rate
        for parameter, gradient, buffer in zip(group["params"], given.gradients, given.moments[0], strict=True):
            parameter.grad = gradient
            muon.state[parameter]["momentum_buffer"] = buffer
        muon.step()

    others = [each for each in weights if each not in matrices]
    return (
        _Part(partial(_cut, weights=matrices), ("momentum_buffer",), change),
        _make_adamw(spec, partial(_cut, weights=others)),
    )


_BUILDERS = {"adamw": _build_adamw, "sgd": _build_sgd, "muon": _build_muon}


def _make_adamw(spec: TrainingSpec, cut: Callable[[Tensor], list[Tensor]]) -> _Part:
    def change(given: _Update) -> None:
        first, second = given.moments
        adamw(
            given.parameters,
            given.gradients,
            first,
            second,
            [],
            given.counts,
            fused=True,
            amsgrad=False,
            beta1=spec.betas[0],
            beta2=spec.betas[1],
            lr=given.rate,
            weight_decay=spec.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    return _Part(cut, ("exp_avg", "exp_avg_sq"), change)


def _take_whole(flat: Tensor) -> list[Tensor]:
    return [flat]


def _cut(flat: Tensor, weights: Sequence[_Weight]) -> list[Tensor]:
    """Of [seed, parameter] a view of each of these weights of each seed."""
    return [row[each.start : each.stop].view(each.shape) for row in flat for each in weights]


def _list_weights(model: Decoder) -> list[_Weight]:
    weights: list[_Weight] = []
    for name, value in model.named_parameters():
        weights.append(_Weight(name, weights[-1].stop if weights else 0, value.shape))
    return weights


def _build_factors(rates: Mapping[str, float], weights: Sequence[_Weight]) -> Tensor:
    """[parameter] what the learning rate is multiplied by: by each pattern that fits a weight's name."""
    factors = torch.ones(weights[-1].stop)
    places = {name: factors[part] for each in weights for name, part in _name_parts(each).items()}
    for pattern, factor in rates.items():
        chosen = [place for name, place in places.items() if fnmatchcase(name, pattern)]
        if not chosen:
            raise SaltusError(
                f"training.rates: {pattern!r:.60} was given, which fits no weight; the weights are {', '.join(places)}"
            )
        for place in chosen:
            place *= factor
    return factors


def _name_parts(weight: _Weight) -> dict[str, slice]:
    """Where a weight is, or each of the three that are one: `mixer.query_key_value.weight` has `mixer.key.weight`."""
    if PACKED not in weight.name:
        return {weight.name: slice(weight.start, weight.stop)}
    third = weight.shape.numel() // len(PARTS)
    return {
        weight.name.replace(PACKED, name): slice(weight.start + i * third, weight.start + (i + 1) * third)
        for i, name in enumerate(PARTS)
    }
