"""Distillation of attention: the patterns of a teacher, which is a run that is finished, in a student."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.specs import DistillationSpec, RunSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task, TaskFacts
from saltus.train.folder import RunFolder
from saltus.train.interventions.base import Intervention, Weights
from saltus.train.interventions.keys import find_heads
from saltus.train.interventions.patterns import (
    SMALLEST,
    attend,
    average_by_unit,
    find_places,
    take_queries,
    take_share,
)


class Distillation(Intervention):
    """KL(teacher || student) of each teacher's head and the student's nearest, or its query and key rows at the start.

    A student may have fewer heads than the teacher: several of the teacher's then go to one of the student's, for each
    unit anew, since a narrow head serves several units. Which is nearest is asked at every step, so that nothing has to
    be remembered. The teacher computes without its own interventions.
    """

    def __init__(self, spec: DistillationSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, model, task, generator)
        self._distillation, facts = spec, task.facts
        self._queries = torch.from_numpy(np.flatnonzero(facts.scored))
        self._by_unit = average_by_unit(facts, facts.scored)[self._queries]  # [scored query, unit]
        heads = np.broadcast_to(find_heads(spec, model), (model.layers, model.attention_heads))
        self._heads = torch.from_numpy(np.flatnonzero(heads))
        self._teacher: Decoder | None = None
        self._weights: list[Weights] = []
        """Of the teacher, by checkpoint."""

    def open(self, beside: Path) -> None:
        """Read the teacher's checkpoints."""
        spec, folder = self._distillation, RunFolder(beside / self._distillation.teacher)
        if not folder.finished:
            raise SaltusError(
                f"intervention.teacher: {spec.teacher!r} was given, and {beside} has no finished run of that name; "
                "train it first, into the same folder"
            )
        teacher = folder.spec()
        facts = folder.facts()  # and not from its description, which may hold somebody's code
        self._check(teacher, facts)
        self._teacher = build_model(teacher.model, facts, init_seed=0)
        arrays = [folder.weights(step, spec.seed) for step in spec.checkpoints]
        self._weights = [{name: torch.from_numpy(value) for name, value in each.items()} for each in arrays]

    def initialise(self, weights: Weights) -> Weights:
        """As `Intervention.initialise`: with the teacher's queries and keys, if these are to be copied."""
        if self._distillation.how != "copy":
            return weights
        copied = dict(weights)
        for name, value in weights.items():
            if ".query_key_value." in name:
                rows = 2 * len(value) // 3  # those of queries, then those of keys
                copied[name] = torch.cat([self._weights[0][name][:rows], value[rows:]])
        return copied

    def loss(
        self, step: int, model: Decoder, tokens: Tensor, bias: Tensor | None
    ) -> Callable[[Weights], Tensor] | None:
        """As `Intervention.loss`: nothing where the weight is 0, or rows are copied."""
        spec = self._distillation
        weight = spec.anneal(spec.weight, 0.0, step)
        if weight == 0.0 or spec.how == "copy":
            return None
        read = take_share(tokens, spec.share)
        places = find_places(self.task, read, self._queries)
        wanted = self._read_teacher(step, read, places)  # [n, teacher's head, query, key]
        negentropy = (wanted * wanted.clamp(min=SMALLEST).log()).sum(-1).mean(0)  # [teacher's head, query]

        def diverge(weights: Weights) -> Tensor:
            pattern = take_queries(attend(model, weights, read, bias), places).flatten(1, 2)[:, self._heads]
            logs = pattern.clamp(min=SMALLEST).log()  # [n, student's head, query, key]
            cross = -torch.einsum("ntqk,nsqk->tsq", wanted, logs) / len(read)
            by_unit = (negentropy[:, None] + cross) @ self._by_unit.to(cross.device)  # [teacher's, student's, unit]
            return weight * by_unit.amin(1).mean()

        return diverge

    @torch.no_grad()
    def _read_teacher(self, step: int, tokens: Tensor, places: Tensor) -> Tensor:
        """Its patterns at the checkpoint that it has its turn at a step, [sequence, head of all layers, query, key]."""
        assert self._teacher is not None
        place = min(step // (self._distillation.stretch or 1), len(self._weights) - 1)
        model = self._teacher.to(tokens.device)
        weights = {name: value.to(tokens.device) for name, value in self._weights[place].items()}
        return take_queries(attend(model, weights, tokens, None), places).flatten(1, 2)

    def _check(self, teacher: RunSpec, theirs: TaskFacts) -> None:
        name, facts, model = self._distillation.teacher, self.task.facts, self.model_spec
        if (theirs.symbols, theirs.length) != (facts.symbols, facts.length):
            raise SaltusError(
                f"intervention.teacher: {name!r} reads {theirs.length} tokens of {theirs.symbols} symbols, and this "
                f"run {facts.length} of {facts.symbols}; take a teacher of the same task"
            )
        if not teacher.model.attention_heads:
            raise SaltusError(
                f"intervention.teacher: {name!r} has no attention, since its model.kind is {teacher.model.kind!r}; "
                "take a transformer"
            )
        alike = ("layers", "d_model", "attention_heads", "head_dimension")
        if self._distillation.how == "copy":
            for key in alike:
                own, their = getattr(model, key), getattr(teacher.model, key)
                if own != their:
                    raise SaltusError(
                        f"intervention.how: 'copy' was given, and {key} is {own} here and {their} in the teacher "
                        f"{name!r}; take equal ones, or how='loss'"
                    )
