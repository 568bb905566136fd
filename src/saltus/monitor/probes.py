"""What is measured at a probe: capabilities, known patterns and the user's own numbers, each on its own account."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.known_patterns import PatternMasks
from saltus.lm.capabilities.base import Prompt
from saltus.lm.patching.tap import tapped
from saltus.lm.pattern_scores import PatternScorer, PatternScores, join_layers, score_model
from saltus.lm.scanning.probe import probe
from saltus.monitor.quiet import find_language_model

T = TypeVar("T")

ReadLogits = Callable[[Any, Tensor], Tensor]
"""From the model and tokens [sequence, position] to logits [sequence, position, vocabulary]."""
ReadAttention = Callable[[Any, Tensor], Sequence[Tensor]]
"""From the model and tokens [sequence, position] to each layer's attention [sequence, head, query, key]."""
OwnMeasure = Callable[[Any], float]
"""From the model to a number: a capability of the user's, or another number."""

ROWS = 256
"""Sequences in a pass."""
_ROUNDING = 1e-6
"""By how much a mean in single precision may miss the ends of the shares."""
_HALF = 0.02
"""By how much the sum of a query's weights may be off in half precision."""


@dataclass
class Measured:
    """What one probe found; what failed is named with its reason."""

    shares: dict[str, float] = field(default_factory=dict[str, float])
    probabilities: dict[str, float] = field(default_factory=dict[str, float])
    scalars: dict[str, float] = field(default_factory=dict[str, float])
    scores: PatternScores | None = None
    failed: dict[str, str] = field(default_factory=dict[str, str])

    def attempt(self, part: str, measure: Callable[[], T]) -> T | None:
        """What `measure` gives; None if it fails, and then the reason is kept."""
        try:
            return measure()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a measure, the training goes on
            self.failed[part] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return None


@dataclass(frozen=True)
class Probes:
    """Everything that is asked of a model at every probe."""

    prompts: Mapping[str, Sequence[Prompt]]
    """By capability."""
    own: Mapping[str, OwnMeasure]
    """The user's own capabilities, by name."""
    scalars: Mapping[str, OwnMeasure]
    masks: PatternMasks | None
    """None where no patterns are read."""
    logits: ReadLogits | None
    attention: ReadAttention | None

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Their names."""
        return (*self.prompts, *self.own)

    @property
    def sha256(self) -> str:
        """The hash of all tokens that are shown to a model."""
        prompts = [[name, [p.hashed for p in each]] for name, each in self.prompts.items()]
        tokens = self.masks.tokens.tolist() if self.masks else []
        return hashlib.sha256(json.dumps([prompts, tokens]).encode()).hexdigest()

    def measure(self, model: nn.Module) -> Measured:
        """Everything that can be measured of `model`, which must be `undisturbed` and without wrappers.

        Functions of the user's get it whole; prompts and patterns need the language model in it.
        """
        measured = Measured()
        needed = (self.prompts and self.logits is None) or (self.masks is not None and self.attention is None)
        language = measured.attempt("model", lambda: find_language_model(model)) if needed else None
        for name, prompts in self.prompts.items() if language is not None or self.logits is not None else ():
            answers = measured.attempt(name, lambda prompts=prompts: self._ask(model, language, prompts))
            if answers is not None:
                measured.shares[name], measured.probabilities[name] = answers
        for name, function in self.own.items():
            share = measured.attempt(name, lambda function=function: _require_share(float(function(model))))
            if share is not None:
                measured.shares[name] = share
        for name, function in self.scalars.items():
            number = measured.attempt(name, lambda function=function: float(function(model)))
            if number is not None:
                measured.scalars[name] = number
        if self.masks is not None and (language is not None or self.attention is not None):
            measured.scores = measured.attempt("patterns", lambda: self._read_attention(model, language))
        return measured

    def _ask(
        self, model: nn.Module, language: PreTrainedModel | None, prompts: Sequence[Prompt]
    ) -> tuple[float, float]:
        """The share of right prompts, and the mean probability of the target."""
        if self.logits is not None:
            answered = probe(cast(PreTrainedModel, _AsLanguageModel(model, self.logits)), prompts, ROWS)
        else:
            assert language is not None
            name: Any = language.config._attn_implementation  # pyright: ignore[reportPrivateUsage]  # no public way
            # Kernels of flash attention refuse single precision, which is what is left of a model without autocast.
            with tapped(language) if "flash" in str(name) else nullcontext():
                answered = probe(language, prompts, ROWS)
        return float(answered.correct.mean()), float(answered.probability.mean())

    def _read_attention(self, model: nn.Module, language: PreTrainedModel | None) -> PatternScores:
        assert self.masks is not None
        if self.attention is None:
            assert language is not None
            return score_model(language, self.masks)
        tokens = torch.from_numpy(self.masks.tokens).to(find_device(model))
        layers = list(self.attention(model, tokens))
        if not layers or not all(layer.ndim == 4 and layer.shape[1] for layer in layers):
            raise SaltusError(
                "attention gave a layer without heads, or no layer; give [sequence, head, query, key] for each layer, "
                "or patterns=() to read none"
            )
        for layer in layers:
            least, most = float(layer.min()), float(layer.sum(-1).max())
            if least < -_HALF or most > 1.0 + _HALF:
                raise SaltusError(
                    f"attention gave weights from {least:.2g} on, which sum to up to {most:.3g} for a query; give them "
                    "after the softmax, where they are 0 or more and sum to 1"
                )
        scorer = PatternScorer(self.masks, tokens.device)
        return join_layers(scorer.score(layer) for layer in layers)


def find_device(model: nn.Module) -> torch.device:
    """Where the first of its parameters is."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _require_share(value: float) -> float:
    if value < -_ROUNDING or value > 1.0 + _ROUNDING:
        raise SaltusError(
            f"{value:g} was given; a capability gives a share from 0 to 1, or NaN where it has none; divide a "
            "percentage by 100, and give any other number in scalars="
        )
    return value


class _AsLanguageModel:
    """A module with a function for its logits, called as transformers' models are."""

    def __init__(self, model: nn.Module, logits: ReadLogits) -> None:
        self.config = SimpleNamespace()
        self.device = find_device(model)
        self._model, self._logits = model, logits

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> SimpleNamespace:
        return SimpleNamespace(logits=self._logits(self._model, input_ids))

    __call__ = forward
