"""What a monitor is asked for, checked and made ready before the training begins."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.known_patterns import KnownPattern, PatternMasks, find_patterns, mask_sequences
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import build_capability, make_prompts
from saltus.lm.capabilities.describe import ALLOWED, describe_capability
from saltus.lm.capabilities.prompt_file import describe_prompt_file
from saltus.lm.pattern_scores import make_probe_tokens
from saltus.monitor.events import NAMES, name_probability
from saltus.monitor.probes import OwnMeasure
from saltus.monitor.records import ProbeBatch
from saltus.specs.capabilities import BaseCapabilitySpec, list_named

Capability = str | Path | BaseCapabilitySpec | OwnMeasure
"""A capability by its name, a file of prompts, a description, or a function from the model to a share from 0 to 1."""


def prepare_capabilities(
    wanted: Sequence[Capability], tokenizer: PreTrainedTokenizerBase | None, master_seed: int
) -> tuple[dict[str, Sequence[Prompt]], dict[str, OwnMeasure]]:
    """By name, the prompts of capabilities, and the functions of the user's.

    Raises:
        SaltusError: if there is no such capability, a name comes twice, or prompts cannot be made.

    """
    prompts: dict[str, Sequence[Prompt]] = {}
    own: dict[str, OwnMeasure] = {}
    for each in wanted:
        if isinstance(each, str | Path | BaseCapabilitySpec):
            spec = _describe(each)
            name = build_capability(spec).name
            if tokenizer is None:
                raise SaltusError(f"capabilities: {name} asks prompts and no tokenizer was given; give tokenizer=")
            found = {name: make_prompts(spec, tokenizer, master_seed)}
            if any(prompt.bands is not None for prompt in found[name]):
                raise SaltusError(
                    f"capabilities: {name} is a text, of which no model predicts every token, and a monitor counts "
                    "what is answered; scan the checkpoints for it, or give a function from the model to a share"
                )
            _require_new(name, {*prompts, *own})
            prompts |= found
        else:
            name = getattr(each, "__name__", type(each).__name__)
            _require_new(name, {*prompts, *own})
            own[name] = each
    return prompts, own


def prepare_patterns(
    wanted: Iterable[str | KnownPattern],
    tokens: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    master_seed: int,
) -> PatternMasks | None:
    """The masks of the patterns on the probe batch, `tokens` [sequence, position] if it is given; None of no pattern.

    Raises:
        SaltusError: if there is nothing to make a batch of, or it is none.

    """
    patterns = find_patterns(wanted)
    if not patterns:
        return None
    if tokens is None and tokenizer is None:
        raise SaltusError(
            "patterns: neither a tokenizer nor tokens were given; give one of the two, or patterns=() to read none"
        )
    batch = _read_tokens(tokens) if tokens is not None else None
    if batch is None:
        assert tokenizer is not None
        batch = make_probe_tokens(tokenizer, master_seed)
    return mask_sequences(patterns, batch)


def refuse_shared_names(
    patterns: Iterable[str], prompts: Iterable[str], own: Iterable[str], scalars: Iterable[str]
) -> None:
    """Refuse two numbers of one name, which would be one line in a tracker; saltus's own names are taken.

    Raises:
        SaltusError: if there are two.

    """
    taken: list[str] = [*NAMES]
    asked = [("patterns", name) for name in patterns]
    asked += [("capabilities", name) for each in prompts for name in (each, name_probability(each))]
    asked += [*(("capabilities", name) for name in own), *(("scalars", name) for name in scalars)]
    for argument, name in asked:
        if name in taken:
            raise SaltusError(
                f"{argument}: {name!r} was given, and another number of this monitor has that name; taken are "
                f"{', '.join(taken)}; give it another name"
            )
        taken.append(name)


def describe_batch(masks: PatternMasks, tokenizer: PreTrainedTokenizerBase | None) -> ProbeBatch:
    """What is kept of the probe batch."""
    texts = tokenizer.batch_decode([[token] for token in masks.tokens[0].tolist()]) if tokenizer else []
    return ProbeBatch(masks.names, masks.chance, masks.tokens, masks.masks[:, 0], tuple(texts))


def _describe(capability: str | Path | BaseCapabilitySpec) -> BaseCapabilitySpec:
    if isinstance(capability, BaseCapabilitySpec):
        return capability
    if isinstance(capability, str) and (capability in list_named() or ":" in capability):
        return describe_capability(capability)
    if isinstance(capability, Path) or Path(capability).suffix:
        return describe_prompt_file(Path(capability))
    raise SaltusError(
        f"capabilities: {capability!r} was given; allowed are {ALLOWED}, a file of prompts, or a function of the model"
    )


def _read_tokens(tokens: Any) -> NDArray[np.int64]:
    array = np.asarray(tokens.cpu() if hasattr(tokens, "cpu") else tokens)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise SaltusError(
            f"tokens: an array of shape {array.shape} and type {array.dtype} was given; the probe batch is integers "
            "[sequence, position]"
        )
    return array.astype(np.int64)


def _require_new(name: str, there: set[str]) -> None:
    if name in there:
        raise SaltusError(f"capabilities: {name!r} was given twice; name each capability once")
