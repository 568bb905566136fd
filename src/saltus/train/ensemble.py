"""Many seeds of many runs as one program.

A model is a plain module for one seed. Here it becomes a function of its parameters; `vmap` makes that a function of
the stacked parameters of many seeds, `grad_and_value` their gradients. A **lane** is a set of seeds that run stacked:
on a CUDA device one lane holds all seeds, because a large batch fills it; on a CPU a lane holds one seed and the
batch is cut into micro-batches, because cores are kept busy from their caches. Seeds of different runs can share a
program, and a lane, where the runs have the same shape.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.specs import RunSpec
from saltus.tasks.base import Task, find_order
from saltus.tasks.build import read_facts
from saltus.train.dropout import draw_kept
from saltus.train.evaluate import choose_exact, evaluate_seed
from saltus.train.evaluation import Evaluation, Fit, TrainLoss
from saltus.train.influence import measure_influence
from saltus.train.interventions.base import Weights
from saltus.train.interventions.several import Kept
from saltus.train.material import Material
from saltus.train.memory import DATA_BLOCK
from saltus.train.optimizers import Optimizer
from saltus.train.phases.course import Course
from saltus.train.program import Inputs, Program, multiply
from saltus.train.state import COURSE, SeedState


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
        beside: Path | None = None,
    ) -> None:
        """`stacked` puts all members into one lane; otherwise each has its own.

        `specs` have one shape. `like` is an ensemble whose compiled program is taken over if it has that shape too.
        `beside` is the folder of results in which the runs lie that these need.
        """
        torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
        cells = _build_cells(specs, members, device, beside)
        first = cells[members[0]]
        if like is not None and like.program.spec.shape == first.spec.shape:
            self.program = like.program
        else:
            biased, scaled = (ask(0) is not None for ask in (first.intervention.logits, first.intervention.factors))
            self.program = Program(first.spec, first.facts, device, stacked=stacked, biased=biased, scaled=scaled)
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


def _build_cells(
    specs: Sequence[RunSpec], members: Sequence[Member], device: torch.device, beside: Path | None
) -> dict[Member, Material]:
    """The material of each member: one for all seeds of a run, as far as they share their map and their data."""
    cells: dict[Member, Material] = {}
    scored: dict[int, NDArray[np.int64]] = {}  # [query] the units of the first seed, by run
    for member in members:
        spec = specs[member.run]
        own = spec.map == "seed" or (spec.data is not None and spec.data.draw == "seed")
        shared = Member(member.run, member.seed if own else -1)
        if shared not in cells:
            cells[shared] = Material(spec, member.seed, device, beside)
            if spec.map == "seed" and member.run not in scored:
                scored[member.run] = read_facts(spec).unit_of_query
            if spec.map == "seed" and not np.array_equal(cells[shared].facts.unit_of_query, scored[member.run]):
                raise SaltusError(
                    f"task: seed {member.seed} has other predictions in its units than seed 0; with map='seed' maps "
                    "differ, and what is scored may not, so do not draw that from the generator"
                )
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
        self._bias: Kept[Tensor, Tensor] = Kept(self._stack)
        self._factors: Kept[Mapping[str, Tensor], Tensor] = Kept(
            lambda parts: self._stack([program.spread(part) for part in parts])
        )
        self._step = 0
        self._courses = [
            Course(cell.spec, member.seed, cell.phases) for cell, member in zip(self._cells, members, strict=True)
        ]
        self._helped = any(cell.spec.interventions for cell in self._cells)
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
        """Measure each seed, with the bias and the factors under which it trains, and without them too."""
        model, bias, steered = self._program.model, self._find_bias(), self._steer()
        measured: dict[Member, Evaluation] = {}
        for i, (member, cell, flat) in enumerate(zip(self._members, self._cells, self._parameters, strict=True)):
            if member not in self.active:
                continue
            weights, added = self._program.unflatten(steered[i]), None if bias is None else bias[i]
            patterns = cell.spec.training.patterns
            measured[member] = evaluate_seed(
                model, weights, cell.evaluation_tokens, cell.task, added, patterns=patterns
            )
            if cell.training_tokens is not None:
                known = evaluate_seed(model, weights, cell.training_tokens, cell.task, added, patterns=False)
                measured[member] = replace(measured[member], fit=Fit(known.loss, known.accuracy))
            if cell.spec.steered:
                own = self._program.unflatten(flat)
                free = evaluate_seed(model, own, cell.evaluation_tokens, cell.task, None, patterns=False)
                measured[member] = replace(measured[member], free=Fit(free.loss, free.accuracy))
            if cell.phases:

                def evaluate(
                    tokens: NDArray[Any], task: Task, weights: Weights = weights, added: Tensor | None = added
                ) -> Evaluation:
                    own = torch.from_numpy(tokens).to(self._program.device)
                    return evaluate_seed(model, weights, own, task, added, patterns=False)

                standing = self._courses[i].judge(self._step, measured[member].loss, evaluate)
                measured[member] = replace(measured[member], standing=standing)
        return measured

    def influence(self, run: int) -> dict[Member, NDArray[np.float32]]:
        """Measure the seeds of `run`, as they are evaluated and always with the same other tokens."""
        model, bias = self._program.model, self._find_bias()
        return {
            member: measure_influence(
                model,
                self._program.unflatten(flat),
                cell.evaluation_tokens,
                None if bias is None else bias[i],
                cell.streams.generator("influence"),
            )
            for i, (member, cell, flat) in enumerate(zip(self._members, self._cells, self._steer(), strict=True))
            if member in self.active and member.run == run
        }

    def state(self) -> dict[Member, SeedState]:
        states: dict[Member, SeedState] = {}
        for member, flat, (optimizer, place) in zip(self._members, self._parameters, self._places(), strict=True):
            if member in self.active:
                named = self._program.unflatten(flat) | optimizer.read(place)
                states[member] = {name: value.cpu().numpy().copy() for name, value in named.items()}
        for member, cell, course in zip(self._members, self._cells, self._courses, strict=True):
            if cell.phases and member in states:
                states[member][COURSE] = course.save()
        return states

    def load(self, step: int, states: Mapping[Member, SeedState]) -> None:
        for member, flat, (optimizer, place) in zip(self._members, self._parameters, self._places(), strict=True):
            tensors = {name: torch.from_numpy(value) for name, value in states[member].items()}
            flat.copy_(self._program.flatten(tensors))
            if step:
                optimizer.write(place, step, tensors)
        for member, cell, course in zip(self._members, self._cells, self._courses, strict=True):
            if cell.phases:
                course.load(states[member][COURSE])
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
        return self._program.flatten(cell.intervention.initialise(named)).to(self._program.device)

    def _find_bias(self) -> Tensor | None:
        """[seed, layer, head, query, key] what is added to attention at this step; None if nothing ever is."""
        return self._bias.of([cell.intervention.logits(self._step) for cell in self._cells])

    def _find_factors(self) -> Tensor | None:
        """[seed, parameter] what parameters are multiplied by at this step; None if they never are."""
        return self._factors.of([cell.intervention.factors(self._step) for cell in self._cells])

    def _steer(self) -> Tensor:
        """[seed, parameter] what the model computes with at this step."""
        return multiply(self._parameters, self._find_factors())

    def _stack(self, parts: list[Tensor]) -> Tensor:
        # Of one seed a view: of a long context the bias is the largest array there is.
        stacked = parts[0][None] if len(parts) == 1 else torch.stack(parts)
        return stacked.to(self._program.device)

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
        return torch.stack([self._weigh_seed(cell, own) for cell, own in zip(self._cells, tokens, strict=True)])

    def _weigh_seed(self, cell: Material, tokens: Tensor) -> Tensor:
        """[sequence, query] the same of one seed."""
        order = find_order(cell.task, tokens.cpu().numpy())
        assert order is not None
        return self._program.weigh(order)

    def _update(self, tokens: Tensor) -> Tensor:
        """One step on [seed, sequence, token]; the loss of each seed on the task, without what is added to it."""
        inputs = Inputs(bias=self._find_bias(), factors=self._find_factors(), kept=self._draw_kept())
        if self._helped:  # before predictions are weighed, since which of them are scored may follow from the tokens
            tokens = torch.stack([self._exchange(*own) for own in zip(self._cells, self._members, tokens, strict=True)])
        phases = [course.reach(self._step) for course in self._courses]
        if any(phases):
            gradient, loss = torch.zeros_like(self._parameters), torch.zeros(len(tokens), device=tokens.device)
            for places, own, weights in self._list_forms(tokens):
                found = self._differentiate(own, inputs.cut(own.shape[-1] - 1, weights))
                gradient[places], loss[places] = (part[places] for part in found)
        else:
            gradient, loss = self._differentiate(tokens, inputs._replace(weights=self._weigh(tokens)))
        for optimizer, share in zip(self._optimizers, gradient.split(self._counts), strict=True):
            optimizer.update(self._step, share)
        return loss

    def _exchange(self, cell: Material, member: Member, tokens: Tensor) -> Tensor:
        """What the interventions of a seed make of its batch [sequence, token] at this step."""
        generator = cell.streams.generator("intervention_data", member.seed, self._step)
        return cell.intervention.data(self._step, tokens, generator)

    def _differentiate(self, tokens: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Gradient [seed, parameter] and loss [seed] on [seed, sequence, token]."""
        gradient, loss = self._program.gradient(self._parameters, tokens, inputs)
        for i, cell in enumerate(self._cells if self._helped else ()):
            bias, factors = (None if each is None else each[i] for each in (inputs.bias, inputs.factors))
            added = cell.intervention.loss(self._step, self._program.model, tokens[i], bias)
            if added:
                gradient[i] += self._program.differentiate(added, self._parameters[i], factors)
        return gradient, loss

    def _list_forms(self, tokens: Tensor) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
        """Forms that batches have at this step: the places of the seeds that have it, and tokens and weights of all.

        A seed with another form stands in with the beginning of the target's batch, so that a compiled step is always
        one of so many seeds.
        """
        forms: dict[tuple[int, bool], dict[int, tuple[Tensor, Tensor | None]]] = {}
        for i, own in enumerate(tokens):
            own, weights = self._courses[i].draw(self._step, own)
            if weights is None and self._program.scoring_varies:
                weights = self._weigh_seed(self._cells[i], own)
            forms.setdefault((own.shape[1], weights is None), {})[i] = own, weights
        for (length, _), members in forms.items():
            batches = [members[i][0] if i in members else each[:, :length] for i, each in enumerate(tokens)]
            given = [weights for _, weights in members.values() if weights is not None]
            rows = [members.get(i, (None, given[0]))[1] for i in range(len(tokens))] if given else []
            yield (
                list(members),
                torch.stack(batches),
                torch.stack([row for row in rows if row is not None]) if rows else None,
            )

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
