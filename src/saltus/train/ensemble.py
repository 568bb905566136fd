"""K seeds as one program.

A model is a plain module for one seed. Here it becomes a function of its parameters; `vmap` makes that a function of
the stacked parameters of many seeds, `grad_and_value` their gradients. A **lane** is a set of seeds that run stacked:
on a CUDA device one lane holds all seeds, because a large batch fills it; on a CPU a lane holds one seed and the
batch is cut into micro-batches, because cores are kept busy from their caches.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.tasks.base import Task
from saltus.tasks.build import build_task
from saltus.train.evaluate import Evaluation, evaluate_seed
from saltus.train.schedule import learning_rate_at

SeedState = dict[str, NDArray[np.float32]]
"""Weights of a seed by name, and the optimiser's moments, flat, under the names in `MOMENTS`."""

MOMENTS = ("exp_avg", "exp_avg_sq")

DATA_BLOCK = 32
"""Steps whose data one generator call draws: part of what a seed's data are, so it never changes with the hardware."""

MICRO_BATCH_TOKENS = 2048
"""Tokens of a micro-batch on a CPU: activations of the usual widths then stay within a core's cache."""


class Ensemble:
    """The seeds of a run that are trained in this process."""

    def __init__(self, spec: RunSpec, seeds: Sequence[int], device: torch.device, *, stacked: bool) -> None:
        """`stacked` puts all seeds into one lane; otherwise each has its own."""
        torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
        self.seeds = tuple(seeds)
        streams = Streams(spec.master_seed)
        task = build_task(spec.task, streams.generator("task"))
        lanes = [self.seeds] if stacked else [(seed,) for seed in self.seeds]
        program = _Program(spec, task, device, stacked=stacked)
        self._lanes = [_Lane(program, lane, streams) for lane in lanes]
        evaluation_data = task.sample(streams.generator("evaluation"), spec.training.evaluation_sequences)
        self._evaluation_tokens = torch.from_numpy(evaluation_data).to(device)
        self._program = program

    def advance(self, step: int) -> NDArray[np.float64]:
        """Train every seed until `step` updates are done; [seed] the sum of the batches' losses on the way."""
        return np.concatenate([lane.advance(step) for lane in self._lanes])

    def evaluate(self) -> list[Evaluation]:
        """Measure every seed, in the order of `seeds`, on the run's evaluation sequences."""
        return [
            evaluate_seed(self._program.model, weights, self._evaluation_tokens, self._program.task.facts)
            for lane in self._lanes
            for weights in lane.weights()
        ]

    def state(self) -> list[SeedState]:
        """Weights and optimiser moments of every seed: all that is needed to go on from here."""
        return [state for lane in self._lanes for state in lane.state()]

    def load(self, step: int, states: Sequence[SeedState]) -> None:
        """Go on from `states` (one for each seed, as `state` gave them), taken after `step` updates."""
        remaining = list(states)
        for lane in self._lanes:
            lane.load(step, remaining[: len(lane.seeds)])
            remaining = remaining[len(lane.seeds) :]


class _Program:
    """Loss and gradient of one seed as a function of its flat parameter vector, mapped over seeds where stacked.

    Flat, because one array is one optimiser update, one saved array and one check at the compiled program's door.
    """

    def __init__(self, spec: RunSpec, task: Task, device: torch.device, *, stacked: bool) -> None:
        self.spec, self.task, self.device, self.stacked = spec, task, device, stacked
        facts, training = task.facts, spec.training
        self.model = build_model(spec.model, facts, init_seed=0).to(device)
        self._shapes = {name: value.shape for name, value in self.model.named_parameters()}
        scored = facts.scored if training.loss == "scored" else np.ones(facts.queries)
        self._weights = torch.from_numpy(scored / scored.sum()).float().to(device)  # [query]
        mapped = grad_and_value(self._loss)
        if stacked:
            mapped = vmap(mapped)
        self.gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = (
            torch.compile(mapped, dynamic=False, fullgraph=True) if training.compile else mapped
        )
        self.batch = spec.batch
        # A sequence is never cut: where one alone is larger than a micro-batch, it is one.
        self.parts = 1 if stacked else min(self.batch, math.ceil(self.batch * facts.length / MICRO_BATCH_TOKENS))

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """[parameter] -> the named weights of a model, as views."""
        parts = flat.split([shape.numel() for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def flatten(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `unflatten`."""
        return torch.cat([weights[name].detach().reshape(-1) for name in self._shapes])

    def _loss(self, flat: Tensor, tokens: Tensor) -> Tensor:
        """Mean next-token cross-entropy in nats over the sequences and the weighted queries."""
        tokens = tokens.long()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.training.precision == "bfloat16"):
            logits = functional_call(self.model, self.unflatten(flat), (tokens[:, :-1],))
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        return (loss.view(len(tokens), -1).mean(0) * self._weights).sum()


class _Lane:
    """Seeds that run stacked: their parameters, optimiser and data."""

    def __init__(self, program: _Program, seeds: Sequence[int], streams: Streams) -> None:
        self._program, self.seeds, self._streams = program, tuple(seeds), streams
        spec = program.spec
        initial = [
            program.flatten(dict(build_model(spec.model, program.task.facts, seed).named_parameters()))
            for seed in (streams.integer("init", seed) for seed in self.seeds)
        ]
        self._parameters = torch.stack(initial).to(program.device)  # [seed, parameter]
        training = spec.training
        self._optimizer = torch.optim.AdamW(
            [self._parameters],
            lr=training.learning_rate,
            betas=training.betas,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self._step = 0
        self._block_number = -1
        self._block = torch.empty(0)

    def advance(self, step: int) -> NDArray[np.float64]:
        """Train until `step`; the summed training loss of each seed."""
        total = torch.zeros(len(self.seeds), device=self._program.device, dtype=torch.float64)
        while self._step < step:
            total += self._update(self._batch(self._step))
            self._step += 1
        return total.cpu().numpy()

    def weights(self) -> list[dict[str, Tensor]]:
        """The current weights of each seed, by name."""
        return [self._program.unflatten(flat) for flat in self._parameters]

    def state(self) -> list[SeedState]:
        moments = self._optimizer.state.get(self._parameters, {})
        states: list[SeedState] = []
        for i, weights in enumerate(self.weights()):
            state = {name: value.cpu().numpy().copy() for name, value in weights.items()}
            for moment in MOMENTS:
                value = moments[moment][i] if moments else torch.zeros_like(self._parameters[i])
                state[moment] = value.cpu().numpy().copy()
            states.append(state)
        return states

    def load(self, step: int, states: Sequence[SeedState]) -> None:
        tensors = [{key: torch.from_numpy(value) for key, value in state.items()} for state in states]
        self._parameters.copy_(torch.stack([self._program.flatten(state) for state in tensors]))
        if step:
            count = torch.tensor(float(step), device=self._program.device)
            moments = {m: torch.stack([state[m] for state in tensors]).to(self._program.device) for m in MOMENTS}
            self._optimizer.state[self._parameters] = {"step": count, **moments}
        self._step = step

    def _batch(self, step: int) -> Tensor:
        """The data of one step, [seed, sequence, token]: they depend on the seed and the step alone."""
        block, offset = divmod(step, DATA_BLOCK)
        if block != self._block_number:
            program = self._program
            drawn = [
                program.task.sample(self._streams.generator("data", seed, block), DATA_BLOCK * program.batch)
                for seed in self.seeds
            ]
            self._block = torch.from_numpy(np.stack(drawn)).to(program.device).unflatten(1, (DATA_BLOCK, -1))
            self._block_number = block
        return self._block[:, offset]

    def _update(self, tokens: Tensor) -> Tensor:
        """One AdamW step on [seed, sequence, token]; the loss of each seed."""
        program = self._program
        gradient, loss = torch.zeros_like(self._parameters), torch.zeros(len(self.seeds), device=program.device)
        for part in tokens.tensor_split(program.parts, dim=1):
            share = part.shape[1] / program.batch
            part_gradient, part_loss = self._gradient(part)
            gradient.add_(part_gradient, alpha=share)
            loss.add_(part_loss, alpha=share)
        self._parameters.grad = gradient
        self._optimizer.param_groups[0]["lr"] = learning_rate_at(program.spec.training, self._step)
        self._optimizer.step()
        return loss

    def _gradient(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[seed, sequence, token] -> the gradient [seed, parameter] and the loss [seed]."""
        if self._program.stacked:
            return self._program.gradient(self._parameters, tokens)
        gradient, loss = self._program.gradient(self._parameters[0], tokens[0])
        return gradient[None], loss[None]
