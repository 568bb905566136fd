"""Several finished seeds as one model: the mean of their logits, measured on the run's evaluation sequences."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.func import functional_call

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.storage.tables import Arrays
from saltus.tasks.base import find_order
from saltus.train.evaluate import EVALUATION_TOKENS
from saltus.train.evaluation import PooledUnits
from saltus.train.folder import RunFolder
from saltus.train.material import Material

CHOICES = 16
"""Choices of K seeds that the mean is taken over, where there are more."""


def measure_pooled(folder: RunFolder, sizes: Sequence[int]) -> list[PooledUnits]:
    """Measure the mean of logits of K seeds at their last steps, for each K of `sizes`.

    Raises:
        SaltusError: if the seeds have different maps, so that no two of them learned the same; or checkpoints are gone.

    """
    spec = folder.spec()
    if spec.map == "seed" or (spec.data is not None and spec.data.draw == "seed"):
        raise SaltusError(
            f"{folder.path}: each seed has its own map or data, so their logits answer different questions; pool a run "
            "with map='run'"
        )
    if spec.intervention is not None:
        raise SaltusError(
            f"{folder.path}: the run has an intervention, and the mean of logits is measured without one; pool a run "
            "that has none"
        )
    material = Material(spec.model_copy(update={"curriculum": ()}), 0, torch.device("cpu"))
    streams, facts = material.streams, material.facts
    model = build_model(spec.model, facts, init_seed=0).eval()
    seeds = sorted(folder.newest())
    weights = [_as_tensors(folder.weights(folder.newest()[seed].step, seed), model) for seed in seeds]
    tokens = material.evaluation_tokens
    chosen = {size: list(_choose(len(seeds), size, streams)) for size in sizes}
    losses = {size: np.zeros((len(each), facts.queries)) for size, each in chosen.items()}
    for part in tokens.split(max(1, EVALUATION_TOKENS // facts.length)):
        inputs, targets = part[:, :-1].long(), part[:, 1:, None].long()
        order = find_order(material.task, part.numpy())
        places = None if order is None else torch.from_numpy(order)  # [n, q]
        with torch.no_grad():
            logits = torch.stack([functional_call(model, each, (inputs,)) for each in weights])  # [seed, n, q, symbol]
        for size, choices in chosen.items():
            for row, choice in enumerate(choices):
                pooled = torch.log_softmax(logits[choice].mean(0), -1).gather(-1, targets).squeeze(-1)  # [n, q]
                pooled = pooled if places is None else pooled.gather(1, places)
                losses[size][row] -= pooled.double().sum(0).numpy() / len(tokens)
    return [
        PooledUnits(size, len(chosen[size]), facts.progress(facts.mean_by_unit(loss))) for size, loss in losses.items()
    ]


def _as_tensors(weights: Arrays, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(weights[name]) for name, _ in model.named_parameters()}


def _choose(seeds: int, size: int, streams: Streams) -> Iterable[list[int]]:
    """Every choice of one or of all; else different random ones."""
    if size in (1, seeds):
        yield from ([seed] for seed in range(seeds)) if size == 1 else [list(range(seeds))]
        return
    generator = streams.generator("bootstrap", size)
    drawn = {tuple(sorted(generator.choice(seeds, size, replace=False).tolist())) for _ in range(CHOICES)}
    yield from (list(choice) for choice in sorted(drawn))
