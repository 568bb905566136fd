"""The target's probability at checkpoints around a patched pair: an extra, for which nothing is fetched."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from saltus.lm.capabilities.build import make_prompts
from saltus.lm.scanning.probe import probe
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite, locate_checkpoint
from saltus.lm.suites.load import load_model
from saltus.lm.suites.tokenizer_files import find_tokenizer
from saltus.lm.suites.tokenizers import load_tokenizer
from saltus.specs.checkpoints import PatchSpec

AROUND = 6
"""Checkpoints on each side of the pair; twice as many between the two."""


def follow_target(
    spec: PatchSpec, suite: Suite, run: Run, device: torch.device
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Steps with the target's probability, [prompt]; a checkpoint that is not here or not usable is passed over."""
    for step in choose_neighbours(suite.steps(run), *sorted((spec.recipient, spec.donor))):
        place = locate_checkpoint(suite, run, step)
        tokens = None if place is None else find_tokenizer(place, spec.tokenizer)
        if place is None or tokens is None:
            continue
        with suppress(MissingCheckpoint):
            prompts = make_prompts(spec.capability, load_tokenizer(tokens), spec.master_seed, bos=spec.bos)
            yield step, probe(load_model(place, spec.precision, device).model, prompts, spec.rows).probability


def choose_neighbours(steps: Sequence[int], first: int, last: int) -> list[int]:
    """Of the increasing steps of a run some before `first`, some after `last`, and some evenly between, with both."""
    before = [step for step in steps if step < first][-AROUND:]
    after = [step for step in steps if step > last][:AROUND]
    between = [step for step in steps if first <= step <= last]
    places = np.linspace(0, len(between) - 1, min(len(between), 2 * AROUND)).round().astype(int)
    return [*before, *(between[place] for place in places), *after]
