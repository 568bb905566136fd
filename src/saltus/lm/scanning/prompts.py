"""The prompts of a scan: made once for each tokenizer, and the same for all checkpoints that are measured."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.known_patterns import PatternMasks, find_patterns, mask_sequences
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import build_capability, make_prompts
from saltus.lm.capabilities.files import ChangedFileError
from saltus.lm.pattern_scores import make_probe_tokens
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.records import SCAN_TABLES
from saltus.lm.suites.base import MissingCheckpoint, Run
from saltus.lm.suites.tokenizer_files import find_tokenizer, hash_tokenizer
from saltus.lm.suites.tokenizers import load_tokenizer
from saltus.specs.checkpoints import ScanSpec


class UnfitPromptsError(SaltusError):
    """Prompts that a checkpoint cannot be asked: its tokenizer or its context does not take them."""


class RunPrompts:
    """The prompts of one run of a scan."""

    def __init__(self, spec: ScanSpec, folder: ScanFolder, run: Run) -> None:
        self._spec, self._folder, self._run = spec, folder, run
        self._prompts: dict[str, Sequence[Prompt]] = {}
        self._agreed: set[str] = set()  # hashes of tokenizers that make them
        self.masks: PatternMasks | None = None
        """The known patterns on the probe batch of the tokenizer, where they are asked for."""

    @property
    def numbers(self) -> dict[str, list[Any]]:
        """The columns that name the prompts, [prompt]: its capability, and its number there."""
        return _number(self._prompts)

    def prepare(self, folder: Path) -> list[Prompt]:
        """The prompts for the checkpoint in `folder`, by its own tokenizer, or by another one of its run.

        Raises:
            MissingCheckpoint: if there is no tokenizer that can be loaded.
            UnfitPromptsError: if it lacks something, or makes other prompts than those that are recorded.

        """
        place = find_tokenizer(folder, self._spec.tokenizer)
        if place is None and not self._prompts:
            raise MissingCheckpoint(
                f"{folder} holds no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt), and "
                "neither does the folder above it; put its files into one of the two"
            )
        if place is not None and (digest := hash_tokenizer(place)) not in self._agreed:
            tokenizer = load_tokenizer(place)
            prompts = self._make(tokenizer)
            self._record(prompts)
            self.masks = self._mask(tokenizer) if self._spec.patterns else None
            self._prompts = prompts
            self._agreed.add(digest)
        return [prompt for several in self._prompts.values() for prompt in several]

    def _make(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Sequence[Prompt]]:
        try:
            made = {
                build_capability(capability).name: make_prompts(
                    capability, tokenizer, self._spec.master_seed, bos=self._spec.bos
                )
                for capability in self._spec.capabilities
            }
        except ChangedFileError:  # which no tokenizer can mend
            raise
        except SaltusError as error:
            raise UnfitPromptsError(str(error)) from None
        for name, criterion in self._spec.criterion_of.items():
            passages = [prompt.bands is not None for prompt in made[name]]
            if criterion.kind == "in-context" and not all(passages):
                raise SaltusError(
                    f"criterion: {name} is no text, and so has no in-context loss; choose top-1, margin, probability, "
                    "rank or loss for it"
                )
            if criterion.kind in ("top-1", "rank") and any(passages):
                raise SaltusError(
                    f"criterion: {name} is a text, of which no model predicts every token; choose in-context, loss or "
                    "probability for it"
                )
            if criterion.kind == "margin" and not all(prompt.foils for prompt in made[name]):
                raise SaltusError(
                    f"criterion: {name} has prompts without a foil, and so no margin; choose top-1, probability, rank "
                    "or loss for it"
                )
        return made

    def _mask(self, tokenizer: PreTrainedTokenizerBase) -> PatternMasks:
        try:
            tokens = make_probe_tokens(tokenizer, self._spec.master_seed, bos=self._spec.bos)
        except SaltusError as error:
            raise UnfitPromptsError(str(error)) from None
        return mask_sequences(find_patterns(self._spec.patterns), tokens)

    def _record(self, prompts: Mapping[str, Sequence[Prompt]]) -> None:
        every = [prompt for several in prompts.values() for prompt in several]
        texts = {
            "text": [prompt.text for prompt in every],
            "target": [prompt.target_text for prompt in every],
            "id": [prompt.id or None for prompt in every],
            "category": [prompt.category or None for prompt in every],
        }
        tokens = json.dumps([prompt.hashed for prompt in every])
        table = pa.table({**_number(prompts), **texts}, schema=SCAN_TABLES["prompts"])
        if not self._folder.agree_on(table, hashlib.sha256(tokens.encode()).hexdigest()):
            raise UnfitPromptsError(
                f"the tokenizer of {self._run} makes other prompts than those that {self._folder.path} began with; "
                "scan runs with different tokenizers each on its own (sizes, seeds)"
            )


def _number(prompts: Mapping[str, Sequence[Prompt]]) -> dict[str, list[Any]]:
    return {
        "capability": [name for name, several in prompts.items() for _ in several],
        "prompt": [number for several in prompts.values() for number in range(len(several))],
    }
