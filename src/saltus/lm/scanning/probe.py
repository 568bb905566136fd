"""What one checkpoint says to each prompt: probability, logit, rank and margin of the target."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import check_prompts
from saltus.lm.memory import explain_memory, run_in_parts
from saltus.lm.suites.base import MissingCheckpoint


@dataclass(frozen=True)
class Probe:
    """All arrays are [prompt]. A target of several tokens is scored with its own earlier tokens before it."""

    probability: NDArray[np.float64]
    """Of the whole target: the product over its tokens; of a passage of text their geometric mean."""
    logit: NDArray[np.float64]
    """Mean over the target's tokens."""
    rank: NDArray[np.int64]
    """Number of other tokens with at least its logit, the worst over the target's tokens; 0 is the only maximum.

    A tie counts in full: where all logits are equal, no token is the answer.
    """
    correct: NDArray[np.bool_]
    """Whether every token of the target has a larger logit than every other token."""
    margin: NDArray[np.float64]
    """Log probability of the target less that of its most probable foil, in nats; NaN without a foil.

    Of a passage of text, its mean loss early less that late in it.
    """


Input = tuple[tuple[int, ...], int]
"""Tokens of a sequence, and how many of its last positions are scored."""

Progress = Callable[[int, int], None]
"""Hears how many sequences were asked, and how many there are."""

MOST_LOGITS = 2**27
"""Logits that are held at once, half a GiB; passages of text have some at every position."""


def probe(model: PreTrainedModel, prompts: Sequence[Prompt], rows: int, progress: Progress | None = None) -> Probe:
    """Ask `model` all prompts, at most `rows` sequences of equal length in a pass, none of them padded.

    Raises `MissingCheckpoint` where the model raises anything, and where a logit is not finite; `SaltusError` where a
    prompt does not fit the model, and where there is no memory for a single sequence.
    """
    check_prompts(model, prompts)
    try:
        return _probe(model, prompts, rows, progress or _ignore)
    except SaltusError:
        raise
    except Exception as error:  # noqa: BLE001 - a foreign model may break the library in any way
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if "CUDA error" in text:  # the device's fault, and not the checkpoint's
            raise SaltusError(f"the device failed ({text}); run the same command again, which goes on") from None
        raise MissingCheckpoint(f"the model cannot be run ({text})") from None


def _probe(model: PreTrainedModel, prompts: Sequence[Prompt], rows: int, progress: Progress) -> Probe:
    answers = [(prompt.tokens, prompt.target) for prompt in prompts]
    foils = [number for number, prompt in enumerate(prompts) for _ in prompt.foils]
    answers += [(prompt.tokens, foil) for prompt in prompts for foil in prompt.foils]
    asked: dict[Input, list[int]] = {}  # a target and a foil of one token each are asked in one sequence
    for number, (tokens, answer) in enumerate(answers):
        asked.setdefault(((*tokens, *answer[:-1]), len(answer)), []).append(number)

    count, done = len(prompts), 0
    log_probability, logit = np.zeros(len(answers)), np.zeros(len(answers))
    rank = np.zeros(len(answers), dtype=np.int64)
    margin = np.full(count, np.nan)
    for group in _group(asked):

        def score(part: slice, group: list[Input] = group, done: int = done) -> None:
            sequences = group[part]
            row = [place for place, sequence in enumerate(sequences) for _ in asked[sequence]]
            numbers = [number for sequence in sequences for number in asked[sequence]]
            scores = _score(_read_logits(model, sequences), row, [answers[number][1] for number in numbers])
            each, logit[numbers], rank[numbers] = scores
            log_probability[numbers] = each.sum(1).cpu().numpy()
            for place, number in enumerate(numbers):
                bands = prompts[number].bands if number < count else None
                if bands is not None:
                    log_probability[number] = float(each[place].mean())
                    early, late = (float(each[place, band.start : band.stop].mean()) for band in bands)
                    margin[number] = late - early
            progress(done + part.stop, len(asked))

        most = max(1, MOST_LOGITS // (group[0][1] * _count_symbols(model)))
        with explain_memory():
            run_in_parts(score, len(group), min(rows, most))
        done += len(group)

    best = np.full(count, -np.inf)
    np.maximum.at(best, foils, log_probability[count:])
    margin[foils] = log_probability[foils] - best[foils]
    return Probe(
        probability=np.exp(log_probability[:count]),
        logit=logit[:count],
        rank=rank[:count],
        correct=rank[:count] == 0,
        margin=margin,
    )


def _score(
    logits: Tensor, row: Sequence[int], answers: Sequence[tuple[int, ...]]
) -> tuple[Tensor, NDArray[np.float64], NDArray[np.int64]]:
    """Log probability of each token [answer, position], mean logit and worst rank [answer].

    Of answers to the sequences `row` [answer].
    """
    where, tokens = (torch.tensor(values, device=logits.device) for values in (row, answers))
    position = torch.arange(logits.shape[1], device=logits.device)
    logit = logits[where[:, None], position, tokens]  # [answer, position]
    total = logits.logsumexp(2)  # [sequence, position]; not finite where any logit is NaN or infinite
    if not (total.isfinite().all() and logit.isfinite().all()):
        raise MissingCheckpoint("the checkpoint gives logits that are not finite")
    return (
        (logit - total[where]).double(),
        logit.double().mean(1).cpu().numpy(),
        ((logits[where] >= logit[..., None]).sum(2) - 1).amax(1).cpu().numpy(),
    )


def _read_logits(model: PreTrainedModel, sequences: Sequence[Input]) -> Tensor:
    """Of the scored positions, in single precision: [sequence, position, vocabulary]."""
    scored = sequences[0][1]
    tokens = torch.tensor([sequence for sequence, _ in sequences], device=model.device)
    # Places rather than their number: what enters the output head is contiguous then, and a small model a third faster.
    places = torch.arange(tokens.shape[1] - scored, tokens.shape[1], device=model.device)
    keep = {"logits_to_keep": places} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False, **keep).logits[:, -scored:].float()


def _count_symbols(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "vocab_size", None) or 1)


def _ignore(_done: int, _total: int) -> None: ...


def _group(asked: Iterable[Input]) -> list[list[Input]]:
    """Sequences of equal length and equally many scored positions together."""
    groups: dict[tuple[int, int], list[Input]] = {}
    for sequence, scored in asked:
        groups.setdefault((len(sequence), scored), []).append((sequence, scored))
    return list(groups.values())
