"""Many seeds of many runs as one program.

A model is a plain module for one seed. Here it becomes a function of its parameters; `vmap` makes that a function of
the stacked parameters of many seeds, `grad_and_value` their gradients. A **lane** is a set of seeds that run stacked:
on a CUDA device one lane holds all seeds, because a large batch fills it; on a CPU a lane holds one seed and the
batch is cut into micro-batches, because cores are kept busy from their caches. Seeds of different runs can share a
program, and a lane, where the runs have the same shape.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.models.build import build_model
from saltus.specs import RunSpec
from saltus.tasks.base import find_order
from saltus.train.dropout import draw_kept
from saltus.train.evaluate import choose_exact, evaluate_seed
from saltus.train.evaluation import Evaluation, Fit, TrainLoss
from saltus.train.influence import measure_influence
from saltus.train.material import Material
from saltus.train.memory import DATA_BLOCK
from saltus.train.optimizers import Optimizer
from saltus.train.program import Inputs, Program
from saltus.train.state import SeedState


class Member(NamedTuple):
    """One seed of one of the runs that are trained together."""

    run: int
    """Its place in the list of runs."""
    seed: int


def list_members(specs: Sequence[RunSpec]) -> list[Member]:
    """Every seed of every run."""
    return [Member(run, seed) for run, spec in enumerate(specs) for seed in range(spec.seeds)]


class Ensemble:
    """The seeds that are trained in this process."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        members: Sequence[Member],
        device: torch.device,
        *,
        stacked: bool,
        like: "Ensemble | None" = None,
    ) -> None:
        """`stacked` puts all members into one lane; otherwise each has its own.

        `specs` have one shape. `like` is an ensemble whose compiled program is taken over if it has that shape too.
        """
        torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
        cells = _build_cells(specs, members, device)
        first = cells[members[0]]
        if like is not None and like.program.spec.shape == first.spec.shape:
            self.program = like.program
        else:
            biased = first.intervention is not None and first.intervention.logits(0) is not None
            self.program = Program(first.spec, first.facts, device, stacked=stacked, biased=biased)
        lanes = [members] if stacked else [[member] for member in members]
        self._lanes = [_Lane(self.program, lane, cells) for lane in lanes]

    def advance(self, step: int) -> dict[Member, TrainLoss]:
        """Train every seed until `step` updates are done; what its batches cost on the way."""
        return {member: loss for lane in self._lanes for member, loss in lane.advance(step).items()}

    def evaluate(self) -> dict[Member, Evaluation]:
        """Measure every seed on its run's evaluation sequences."""
        return {member: evaluation for lane in self._lanes for member, evaluation in lane.evaluate().items()}

    def influence(self, run: int) -> dict[Member, NDArray[np.float32]]:
        """[query, key] how far each token moves each prediction, for the seeds of `run`: `measure_influence`."""
        return {member: moved for lane in self._lanes for member, moved in lane.influence(run).items()}

    def state(self) -> dict[Member, SeedState]:
        """Weights and optimiser moments of every seed: all that is needed to go on from here."""
        return {member: state for lane in self._lanes for member, state in lane.state().items()}

    def load(self, step: int, states: Mapping[Member, SeedState]) -> None:
        """Go on from `states`, as `state` gave them, taken after `step` updates."""
        for lane in self._lanes:
            lane.load(step, states)

    def retire(self, members: Collection[Member]) -> None:
        """Train these no further; they leave every result. A stacked lane goes on until all have left."""
        for lane in self._lanes:
            lane.active -= set(members)
        self._lanes = [lane for lane in self._lanes if lane.active]


def _build_cells(specs: Sequence[RunSpec], members: Sequence[Member], device: torch.device) -> dict[Member, Material]:
    """The material of each member: one for all seeds of a run, as far as they share their map and their data."""
    cells: dict[Member, Material] = {}
    for member in members:
        spec = specs[member.run]
        own = spec.map == "seed" or (spec.data is not None and spec.data.draw == "seed")
        shared = Member(member.run, member.seed if own else -1)
        if shared not in cells:
            cells[shared] = Material(spec, member.seed, device)
        cells[member] = cells[shared]
    return cells


class _Lane:
    """Seeds that run stacked: their parameters, optimiser and data. Those of a run stand side by side."""

    def __init__(self, program: Program, members: Sequence[Member], cells: Mapping[Member, Material]) -> None:
        self._program, self._members = program, tuple(members)
        self.active = set(members)
        self._cells = [cells[member] for member in members]
        self._parameters = torch.stack([self._initialise(*pair) for pair in zip(self._cells, members, strict=True)])
        runs = list(dict.fromkeys(member.run for member in members))
        self._counts = [sum(member.run == run for member in members) for run in runs]
        specs = [next(cells[m].spec for m in members if m.run == run) for run in runs]
        parts = self._parameters.split(self._counts)  # views, one for each run
        self._optimizers = [
            Optimizer(spec.training, part, program.model) for spec, part in zip(specs, parts, strict=True)
        ]
        self._added: list[Tensor] = []
        """What the interventions add to attention logits, [seed], as of the last step that was asked for."""
        self._bias: Tensor | None = None
        self._step = 0
        self._block_number = -1
        self._block = torch.empty(0)

    def advance(self, step: int) -> dict[Member, TrainLoss]:
        """Train until `step`; what the batches of each seed cost."""
        total = torch.zeros(len(self._members), device=self._program.device, dtype=choose_exact(self._program.device))
        lowest = torch.full_like(total, torch.inf)
        start = self._step
        while self._step < step:
            loss = self._update(self._batch(self._step))
            total += loss
            lowest = lowest.minimum(loss)
            self._step += 1
        losses = zip(self._members, total.tolist(), lowest.tolist(), strict=True)
        return {m: TrainLoss(step - start, *loss) for m, *loss in losses if m in self.active}

    def evaluate(self) -> dict[Member, Evaluation]:
        """Measure each seed, with the bias under which it trains."""
        model, bias = self._program.model, self._current_bias()
        measured: dict[Member, Evaluation] = {}
        for i, (member, cell, flat) in enumerate(zip(self._members, self._cells, self._parameters, strict=True)):
            if member not in self.active:
                continue
            weights, added = self._program.unflatten(flat), None if bias is None else bias[i]
            patterns = cell.spec.training.patterns
            measured[member] = evaluate_seed(
                model, weights, cell.evaluation_tokens, cell.task, added, patterns=patterns
            )
            if cell.training_tokens is not None:
                known = evaluate_seed(model, weights, cell.training_tokens, cell.task, added, patterns=False)
                measured[member] = replace(measured[member], fit=Fit(known.loss, known.accuracy))
        return measured

    def influence(self, run: int) -> dict[Member, NDArray[np.float32]]:
        """Measure the seeds of `run`, with the bias under which they train and always with the same other tokens."""
        model, bias = self._program.model, self._current_bias()
        return {
            member: measure_influence(
                model,
                self._program.unflatten(flat),
                cell.evaluation_tokens,
                None if bias is None else bias[i],
                cell.streams.generator("influence"),
            )
            for i, (member, cell, flat) in enumerate(zip(self._members, self._cells, self._parameters, strict=True))
            if member in self.active and member.run == run
        }

    def state(self) -> dict[Member, SeedState]:
        states: dict[Member, SeedState] = {}
        for member, flat, (optimizer, place) in zip(self._members, self._parameters, self._places(), strict=True):
            if member in self.active:
                named = self._program.unflatten(flat) | optimizer.read(place)
                states[member] = {name: value.cpu().numpy().copy() for name, value in named.items()}
        return states

    def load(self, step: int, states: Mapping[Member, SeedState]) -> None:
        for member, flat, (optimizer, place) in zip(self._members, self._parameters, self._places(), strict=True):
            tensors = {name: torch.from_numpy(value) for name, value in states[member].items()}
            flat.copy_(self._program.flatten(tensors))
            if step:
                optimizer.write(place, step, tensors)
        self._step = step

    def _places(self) -> list[tuple[Optimizer, int]]:
        """The optimiser of each member, and its place there."""
        pairs = zip(self._optimizers, self._counts, strict=True)
        return [(optimizer, place) for optimizer, count in pairs for place in range(count)]

    def _initialise(self, cell: Material, member: Member) -> Tensor:
        """The flat parameters that a seed starts from."""
        model = build_model(cell.spec.model, cell.facts, cell.streams.integer("init", member.seed))
        scale = cell.spec.training.initialisation_scale
        named = {name: value * scale if _is_matrix(name, value) else value for name, value in model.named_parameters()}
        return self._program.flatten(named).to(self._program.device)

    def _current_bias(self) -> Tensor | None:
        """[seed, layer, head, query, key] what is added to attention at this step; None if nothing ever is."""
        asked = [cell.intervention.logits(self._step) if cell.intervention else None for cell in self._cells]
        added = [logits for logits in asked if logits is not None]
        if len(added) != len(self._added) or any(new is not old for new, old in zip(added, self._added, strict=True)):
            self._added = added
            # Of one seed a view: of a long context the bias is the largest array there is.
            stacked = added[0][None] if len(added) == 1 else torch.stack(added)
            self._bias = stacked.to(self._program.device)
        return self._bias

    def _batch(self, step: int) -> Tensor:
        """The data of one step, [seed, sequence, token]: they depend on the seed and the step alone."""
        block, offset = divmod(step, DATA_BLOCK)
        if block != self._block_number:
            drawn = [
                cell.draw(member.seed, block, self._program.batch)
                for cell, member in zip(self._cells, self._members, strict=True)
            ]
            self._block = torch.from_numpy(np.stack(drawn)).to(self._program.device).unflatten(1, (DATA_BLOCK, -1))
            self._block_number = block
        return self._block[:, offset]

    def _weigh(self, tokens: Tensor) -> Tensor | None:
        """[seed, sequence, query] the weight of each prediction in the loss; None where all sequences have the same."""
        if not self._program.scoring_varies:
            return None
        orders = (find_order(cell.task, own) for cell, own in zip(self._cells, tokens.cpu().numpy(), strict=True))
        return torch.stack([self._program.weigh(order) for order in orders if order is not None])

    def _update(self, tokens: Tensor) -> Tensor:
        """One step on [seed, sequence, token]; the loss of each seed on the task, without what is added to it."""
        weights = self._weigh(tokens)
        asked = [cell.intervention for cell in self._cells]
        if any(asked):
            pairs = zip(asked, tokens, strict=True)
            tokens = torch.stack([each.data(self._step, batch) if each else batch for each, batch in pairs])
        inputs = Inputs(bias=self._current_bias(), kept=self._draw_kept(), weights=weights)
        gradient, loss = self._program.gradient(self._parameters, tokens, inputs)
        for i, intervention in enumerate(asked):
            added = intervention and intervention.loss(self._step, self._program.model, tokens[i])
            if added:
                gradient[i] += self._program.differentiate(added, self._parameters[i])
        for optimizer, share in zip(self._optimizers, gradient.split(self._counts), strict=True):
            optimizer.update(self._step, share)
        return loss

    def _draw_kept(self) -> Tensor | None:
        """[seed, sequence, branch, query, d_model] what dropout leaves at this step; None without dropout."""
        if not self._program.spec.model.dropout:
            return None
        pairs = zip(self._cells, self._members, strict=True)
        drawn = [draw_kept(cell.spec, member.seed, self._step) for cell, member in pairs]
        return torch.from_numpy(np.stack(drawn)).to(self._program.device)


def _is_matrix(name: str, value: Tensor) -> bool:
    """Whether the initialisation's scale is a factor of it: vectors are biases and scales, and a logarithm has none."""
    return value.ndim > 1 and not name.rpartition(".")[2].startswith("log_")
