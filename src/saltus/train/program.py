"""Loss and gradient of one seed as a function of its parameters, mapped over seeds where they are stacked."""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value, vmap

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.specs import RunSpec
from saltus.tasks.base import TaskFacts
from saltus.train.flops import is_compiled
from saltus.train.phases.base import weigh_queries

MICRO_BATCH_TOKENS = 2048
"""Tokens of a micro-batch on a CPU: activations of the usual widths then stay within a core's cache."""

FORMS = 64
"""Shapes of a batch that a compiled step may have; where micro-batches differ, each length has two."""

ROW = 16
"""Numbers of queries that are a multiple of it are fast in bfloat16 on a CPU."""


class Program:
    """What all runs of one shape share; it holds nothing that differs between them.

    Parameters are one flat vector, because one array is one optimiser update, one saved array and one check at the
    compiled program's door.
    """

    def __init__(
        self,
        spec: RunSpec,
        facts: TaskFacts,
        device: torch.device,
        *,
        stacked: bool,
        biased: bool,
        scaled: bool = False,
    ) -> None:
        """`biased` says whether a bias is added to attention, `scaled` whether weights are multiplied by factors."""
        self.spec, self.device, self.stacked = spec, device, stacked
        training = spec.training
        self.model = build_model(spec.model, facts, init_seed=0).to(device)
        # Causal attention never looks behind, and a mixer that has a weight for each position has none to spare.
        filled = training.precision == "bfloat16" and device.type == "cpu" and spec.model.kind == "transformer"
        self._fill = -facts.queries % ROW if filled else 0
        longer = replace(facts, length=facts.length + self._fill)
        self._trained = build_model(spec.model, longer, init_seed=0).to(device) if self._fill else self.model
        self._shapes = {name: value.shape for name, value in self.model.named_parameters()}
        self._weights = torch.from_numpy(weigh_queries(facts, training.loss)).float().to(device)  # [query]
        self.scoring_varies = facts.reordered and training.loss == "scored"
        """Whether the loss weighs other predictions in each sequence, as `weigh` does."""
        self._given = biased, scaled, spec.model.dropout > 0.0
        self._compiled = is_compiled(spec)
        if self._compiled:
            torch.compiler.reset()  # programs of other shapes are not called again, and only so many are kept
        self._mapped = {weighted: self._map(weighted) for weighted in {self.scoring_varies, bool(spec.curriculum)}}
        self.batch = spec.batch

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """[parameter] -> the named weights of a model, as views."""
        parts = flat.split([shape.numel() for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def flatten(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `unflatten`."""
        return torch.cat([weights[name].detach().reshape(-1) for name in self._shapes])

    def spread(self, factors: Mapping[str, Tensor]) -> Tensor:
        """Factors on named weights -> one on each parameter, [parameter]: 1 where none is named."""
        ones = ((name, torch.ones(shape)) for name, shape in self._shapes.items())
        return torch.cat([(one * factors.get(name, 1.0)).reshape(-1) for name, one in ones])

    def weigh(self, order: NDArray[np.int64]) -> Tensor:
        """[sequence, query] weights of the predictions in the loss, from the order of a `ReorderedTask`."""
        places = torch.from_numpy(order).to(self.device)
        return torch.zeros(places.shape, device=self.device).scatter_(1, places, self._weights.expand(places.shape))

    def gradient(self, parameters: Tensor, tokens: Tensor, inputs: "Inputs") -> tuple[Tensor, Tensor]:
        """Gradient [seed, parameter] and loss [seed] of [seed, parameter] on [seed, sequence, token]."""
        gradient, loss = torch.zeros_like(parameters), torch.zeros(len(parameters), device=self.device)
        phased = self._compiled and self.spec.curriculum
        with (
            explain_compiler(self.spec.training.compile) if self._compiled else nullcontext(),
            allow_forms() if phased else nullcontext(),
        ):
            mapped, number = self._mapped[inputs.weights is not None], self._count_parts(tokens.shape[-1])
            for part, own in zip(tokens.tensor_split(number, dim=1), inputs.split(number), strict=True):
                share = part.shape[1] / self.batch
                if self.stacked:
                    part_gradient, part_loss = mapped(parameters, part, *own)
                else:
                    one = mapped(parameters[0], part[0], *(None if each is None else each[0] for each in own))
                    part_gradient, part_loss = one[0][None], one[1][None]
                gradient.add_(part_gradient, alpha=share)
                loss.add_(part_loss, alpha=share)
        return gradient, loss

    def differentiate(
        self, added: Callable[[dict[str, Tensor]], Tensor], flat: Tensor, factors: Tensor | None
    ) -> Tensor:
        """The gradient [parameter] of a function of one seed's named weights, with their factors, at [parameter]."""

        def call(parameters: Tensor) -> Tensor:
            return added(self.unflatten(multiply(parameters, factors)))

        return grad(call)(flat)

    def _map(self, weighted: bool) -> Callable[..., tuple[Tensor, Tensor]]:
        """Gradient and loss of seeds, compiled where that is asked for; `weighted` says whether `weights` are given."""
        if not self.stacked and not self._compiled:
            return self._differentiate
        mapped: Callable[..., tuple[Tensor, Tensor]] = grad_and_value(self._loss)
        if self.stacked:
            mapped = vmap(mapped, in_dims=(0, 0, *(0 if each else None for each in (*self._given, weighted))))
        if self._compiled:
            mapped = compile_step(mapped, self.spec.training.compile, self.device)
        return mapped

    def _differentiate(self, flat: Tensor, tokens: Tensor, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `grad_and_value` gives but for rounding, which costs a small step a third and imports the compiler."""
        leaf = flat.detach().requires_grad_()
        with torch.enable_grad():
            loss = self._loss(leaf, tokens, *given)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient, loss.detach()

    def _count_parts(self, length: int) -> int:
        """Micro-batches. A sequence is never cut: where one alone is larger than a micro-batch, it is one."""
        return 1 if self.stacked else min(self.batch, math.ceil(self.batch * length / MICRO_BATCH_TOKENS))

    def _loss(
        self,
        flat: Tensor,
        tokens: Tensor,
        bias: Tensor | None,
        factors: Tensor | None,
        kept: Tensor | None,
        own: Tensor | None,
    ) -> Tensor:
        """Mean next-token cross-entropy in nats over the sequences and the weighted queries; `own` are `weights`."""
        tokens = tokens.long()
        inputs, targets, weights = tokens[:, :-1], tokens[:, 1:], self.unflatten(multiply(flat, factors))
        if self._fill:
            inputs = F.pad(inputs, (0, self._fill))
            if "positions" in weights:
                weights["positions"] = F.pad(weights["positions"], (0, 0, 0, self._fill))
            if bias is not None:
                bias = F.pad(bias, (0, self._fill, 0, self._fill))
            if kept is not None:
                kept = F.pad(kept, (0, 0, 0, self._fill))
        # Only where it is on: a program that enters it, even to leave it off, is traced anew in each process.
        low = self.spec.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
            logits = functional_call(self._trained, weights, (inputs, bias, kept))[:, : targets.shape[1]]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        if own is not None:
            return (loss.view(len(tokens), -1) * own).mean(0).sum()
        return (loss.view(len(tokens), -1).mean(0) * self._weights).sum()


class Inputs(NamedTuple):
    """What a step takes besides parameters and tokens; None where the runs have nothing of it."""

    bias: Tensor | None = None
    """[seed, layer, head, query, key] added to attention logits."""
    factors: Tensor | None = None
    """[seed, parameter] what parameters are multiplied by."""
    kept: Tensor | None = None
    """[seed, sequence, branch, query, d_model] what dropout leaves."""
    weights: Tensor | None = None
    """[seed, sequence, query] weights of the predictions, where scoring varies or a phase has its own."""

    def cut(self, queries: int, weights: Tensor | None) -> "Inputs":
        """Those for the first queries alone, with these weights. A bias is never cut: it is about all queries."""
        kept = None if self.kept is None else self.kept[..., :queries, :]
        return Inputs(self.bias, self.factors, kept, weights)

    def split(self, parts: int) -> list["Inputs"]:
        """Those of each part of the sequences."""
        shares = [
            [None] * parts if each is None else each.tensor_split(parts, dim=1) for each in (self.kept, self.weights)
        ]
        return [Inputs(self.bias, self.factors, *own) for own in zip(*shares, strict=True)]


def multiply(parameters: Tensor, factors: Tensor | None) -> Tensor:
    """Parameters times their factors, if there are any."""
    return parameters if factors is None else parameters * factors


@contextmanager
def explain_compiler(given: object) -> Generator[None, None, None]:
    """Turn what a compiler complains of into one sentence: a module of the user's own, or the C++ compiler itself."""
    try:
        yield
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "without a message")
        raise SaltusError(
            f"training.compile: {given} was given, and the training step cannot be compiled "
            f"({kind.__name__}: {first}); set compile=False"
        ) from None


@contextmanager
def allow_forms() -> Generator[None, None, None]:
    """Let a compiled step have the shapes of many phases: PyTorch refuses the ninth."""
    from torch._dynamo import config  # late, as below

    with config.patch(recompile_limit=FORMS):
        yield


def compile_step(step: Callable[..., Any], how: bool | str, device: torch.device) -> Callable[..., Any]:
    """A function of tensors of fixed shapes, compiled as `TrainingSpec.compile` says; it is compiled when first called.

    What is recorded as a graph returns tensors that its next call overwrites.
    """
    mode = "reduce-overhead" if how == "graphs" and device.type == "cuda" else None
    return torch.compile(step, dynamic=False, fullgraph=True, backend=_choose_backend(device), mode=mode)


def _choose_backend(device: torch.device) -> Any:
    if device.type != "cpu":
        return "inductor"
    # Imported late: the compiler is slow to load, and not every program is compiled.
    from saltus.train.compilation import compile_for_cpu

    return compile_for_cpu
