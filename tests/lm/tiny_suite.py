"""Tokenizers, checkpoints and a suite small enough for tests; nothing is fetched from anywhere."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.suites.base import MissingCheckpoint, Run

WORDS = [*"0123456789", *"abcdefghijklmnopqrstuv"]

TEXT = (
    "When Mary and John went to the store, Anna gave a drink to Tom.\n"
    "After Paul and Sarah met at the park, James handed a book to Alice.\n"
    "1. bread\n2. milk\n3. sugar\n4. lamp\n5. apple\n10. table\n"
    "0 7 3 1 2 0 2 3 4 5 6 8 9\n"
) * 20


def make_word_tokenizer(words: Sequence[str] = WORDS, unknown: str | None = None) -> PreTrainedTokenizerBase:
    """Words between white space; unknown ones are refused, or become the word `unknown`."""
    table = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token=unknown or "<none>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def make_line_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerBase:
    """Words that keep the line break before them, as in `\\n5`; a line break alone is refused."""
    table = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<none>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(" "), "removed"), pre_tokenizers.Split(Regex(r"\n?\d+|\."), "isolated")]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def make_pair_tokenizer(text: str = TEXT, size: int = 500) -> PreTrainedTokenizerBase:
    """Byte-level BPE with a token before every text, an added word, and an end of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|begin|>", "<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", 0)]
    )
    tokenizer.add_tokens(["<tool>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )


def make_model(seed: int = 0, vocabulary: int = 32, context: int = 24, layers: int = 1) -> GPTNeoXForCausalLM:
    """A GPT-NeoX of 32 dimensions with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPTNeoXConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=context,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=None,
        )
        return GPTNeoXForCausalLM(config).eval()


def teach(model: GPTNeoXForCausalLM, prompts: Sequence[Prompt]) -> None:
    """Until the model answers every prompt, whose targets are of one token."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        losses, right = list[torch.Tensor](), True
        for length in sorted({len(prompt.tokens) for prompt in prompts}):
            several = [prompt for prompt in prompts if len(prompt.tokens) == length]
            logits = model(torch.tensor([prompt.tokens for prompt in several])).logits[:, -1]
            targets = torch.tensor([prompt.target[0] for prompt in several])
            losses.append(cross_entropy(logits, targets))
            right = right and bool((logits.argmax(1) == targets).all())
        if right:
            return
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
    raise AssertionError("the tiny model learns nothing")


def save_checkpoint(folder: Path, model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder as a suite has it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def damage(folder: Path, to: Path) -> Path:
    """A copy whose weights end in the middle."""
    shutil.copytree(folder, to)
    weights = to / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return to


@dataclass
class MemorySuite:
    """A suite that is a mapping; None stands for a checkpoint that is listed and not there."""

    folders: Mapping[Run, Mapping[int, Path | None]]
    offline: bool = False
    """Whether nothing can be fetched now."""
    fetched: list[tuple[Run, int]] = field(default_factory=list[tuple[Run, int]])

    name = "folder:memory"

    def runs(self) -> list[Run]:
        return list(self.folders)

    def steps(self, run: Run) -> list[int]:
        return sorted(self.folders[run])

    def locate(self, run: Run, step: int) -> Path | None:
        return self.folders[run].get(step)

    def fetch(self, run: Run, step: int) -> Path:
        self.fetched.append((run, step))
        if self.offline:
            raise SaltusError("there is no network; try again later")
        folder = self.folders[run][step]
        if folder is None:
            raise MissingCheckpoint(f"{run} has no step {step}")
        return folder


class Silence:
    """Listens to a scan and says nothing."""

    def started(self, runs: int) -> None: ...

    def resumed(self, run: Run, measured: int) -> None: ...

    def fetching(self, run: Run, step: int) -> None: ...

    def loading(self, run: Run, step: int) -> None: ...

    def measuring(self, run: Run, step: int) -> None: ...

    def asked(self, done: int, total: int) -> None: ...

    def measured(self, run: Run, step: int, solved: NDArray[np.bool_]) -> None: ...

    def missing(self, run: Run, step: int, reason: str) -> None: ...

    def finished_run(self, run: Run) -> None: ...
