"""Distillation of attention: the patterns of a teacher, a run of another suite that is finished, in a student."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from saltus.errors import SaltusError
from saltus.lm.pocket.folder import PocketFolder, list_pocket_steps
from saltus.lm.pocket.interventions.base import Around, Intervention
from saltus.lm.pocket.interventions.patterns import attend, choose_heads, cross_entropy
from saltus.lm.suites.base import Run
from saltus.specs.pocket import PocketModelSpec, PocketSpec
from saltus.specs.pocket_interventions import PocketDistillationSpec
from saltus.train.interventions.patterns import take_share


class Distillation(Intervention):
    """KL(teacher || student) of each teacher's head and the student's nearest, or its query and key rows at the start.

    Which is nearest is asked at every step, so that nothing has to be remembered; several of the teacher's heads may
    go to one of the student's. The teacher computes without its own interventions.
    """

    def __init__(self, spec: PocketDistillationSpec, around: Around, generator: np.random.Generator) -> None:
        super().__init__(spec, around, generator)
        self._spec = spec
        self.check(spec, around.suite, around.model, around.beside)
        self._heads = choose_heads(spec, around.model)
        folder = _find_teacher(spec, around.beside).run(Run(spec.size, str(spec.seed)))
        paths = [folder.read(step) for step in spec.checkpoints]
        self._teachers = [GPTNeoXForCausalLM.from_pretrained(path).eval() for path in paths]

    @classmethod
    def check(
        cls, spec: PocketDistillationSpec, suite: PocketSpec, model: PocketModelSpec, beside: Path | None
    ) -> None:
        """As `Intervention.check`: whether the teacher is there, and reads what the student reads."""
        named = f"intervention.teacher: {spec.teacher!r}"
        teacher = _find_teacher(spec, beside).spec()
        theirs, own = (
            (each.length, each.corpus.model_dump(mode="json", exclude={"path"})) for each in (teacher, suite)
        )
        if theirs != own:
            raise SaltusError(
                f"{named} reads {teacher.length} tokens of {_say_corpus(teacher)}, and {suite.name} {suite.length} of "
                f"{_say_corpus(suite)}; take a teacher of the same length and tokenizer"
            )
        size = next((each for each in teacher.models if each.name == spec.size), None)
        if size is None or spec.seed >= teacher.seeds:
            raise SaltusError(
                f"{named} has no run {spec.size} seed {spec.seed}; it has the sizes "
                f"{', '.join(each.name for each in teacher.models)} and the seeds 0 to {teacher.seeds - 1}"
            )
        there = list_pocket_steps(teacher)
        if missing := [step for step in spec.checkpoints if step not in there]:
            raise SaltusError(
                f"intervention.checkpoints: {missing[0]} was given, and {spec.teacher} has checkpoints at "
                f"{', '.join(map(str, there))}; take some of these"
            )
        for key in ("layers", "d_model", "heads") if spec.how == "copy" else ():
            if getattr(size, key) != getattr(model, key):
                raise SaltusError(
                    f"intervention.how: 'copy' was given, and {key} is {getattr(model, key)} in {model.name} and "
                    f"{getattr(size, key)} in the teacher {spec.teacher!r}; take equal ones, or how='loss'"
                )

    @torch.no_grad()
    def initialise(self, model: GPTNeoXForCausalLM) -> None:
        """As `Intervention.initialise`: the teacher's queries and keys, if these are to be copied."""
        if self._spec.how != "copy":
            return
        heads = self.around.model.heads
        theirs = dict(self._teachers[0].named_parameters())
        for name, own in model.named_parameters():
            if ".query_key_value." in name:
                rows = 2 * (len(own) // heads // 3)  # those of queries, then those of keys, of each head
                own.unflatten(0, (heads, -1))[:, :rows] = theirs[name].unflatten(0, (heads, -1))[:, :rows]

    def loss(self, step: int, model: GPTNeoXForCausalLM, tokens: Tensor) -> Tensor | None:
        """As `Intervention.loss`: nothing where the weight is 0, or rows are copied."""
        spec = self._spec
        weight = spec.anneal(spec.weight, 0.0, step)
        if weight == 0.0 or spec.how == "copy":
            return None
        read = take_share(tokens, spec.share)
        teacher = self._teachers[min(step // (spec.stretch or 1), len(self._teachers) - 1)]
        with torch.no_grad():
            wanted = attend(teacher, read).flatten(1, 2)[:, :, None]  # [sequence, teacher's head, 1, query, key]
        pattern = attend(model, read).flatten(1, 2)[:, None, self._heads]  # [sequence, 1, student's head, query, key]
        divergence = (cross_entropy(wanted, pattern) - cross_entropy(wanted, wanted)).mean((0, 3))
        return weight * divergence.amin(1).mean()  # of [teacher's head, student's head]


def _find_teacher(spec: PocketDistillationSpec, beside: Path | None) -> PocketFolder:
    """The folder of the suite that has the teacher."""
    if beside is None or not (folder := PocketFolder(beside / spec.teacher)).finished:
        raise SaltusError(
            f"intervention.teacher: {spec.teacher!r} was given, and {beside or 'no folder'} has no finished suite of "
            "that name; train it first, into the same folder"
        )
    return folder


def _say_corpus(suite: PocketSpec) -> str:
    return f"a {suite.corpus.kind} corpus with a vocabulary of {suite.corpus.vocabulary}"
