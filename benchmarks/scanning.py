"""Time of a scan, against a plain loop over the same checkpoints.

Run as `python benchmarks/scanning.py`; with --write, results/scanning.md is written. Rounds alternate between the two,
ratios are taken round by round and medians are reported. Two times are: that of the clock, in which a scan hashes files
beside the reading where a second core is idle; and that of the processor, over all threads, to which other work on the
machine adds little.

The work: checkpoints of Pythia-14M's shape with random weights, on disk; 16 prompts of copying and 16 of repetition,
float32, every checkpoint. The plain loop makes the prompts once, then loads each checkpoint as the library does, runs
it on each group of prompts of equal length, and takes the probability of the target. A scan does the same with all
that makes it a scan: loading information, a check that the model is causal, hashes of the files, ranks and margins,
and records that survive a kill. It has the library build the model twice, and then puts weights alone into copies. What
the hashes take is measured beside it, and is a part of the scan's time of the processor.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from rich.console import Console
from speed import describe_machine
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from saltus import api
from saltus.lm.capabilities.batches import batch_prompts
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.suites.build import open_suite
from saltus.lm.suites.content import describe_content
from saltus.specs.capabilities import BaseCapabilitySpec, CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import ScanSpec

CHECKPOINTS, ROUNDS, VOCABULARY = 12, 7, 50304
CAPABILITIES: tuple[BaseCapabilitySpec, ...] = (CopyingSpec(), RepetitionSpec())
RESULTS = Path(__file__).parent.parent / "results" / "scanning.md"


def make_suite(root: Path) -> None:
    """Checkpoints of one run, and a tokenizer of words."""
    words = [*"0123456789", *(f"w{number}" for number in range(VOCABULARY - 10))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<none>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=None,
    )
    for step in range(CHECKPOINTS):
        torch.manual_seed(step)
        GPTNeoXForCausalLM(config).save_pretrained(root / f"step{step}")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(root)


def scan_plainly(root: Path) -> list[float]:
    """The mean probability of the target at each checkpoint."""
    tokenizer = AutoTokenizer.from_pretrained(root)
    prompts = [prompt for spec in CAPABILITIES for prompt in make_prompts(spec, tokenizer, 0)]
    means: list[float] = []
    for step in range(CHECKPOINTS):
        model = AutoModelForCausalLM.from_pretrained(root / f"step{step}", dtype=torch.float32).eval()
        total = 0.0
        for batch in batch_prompts(prompts, torch.device("cpu")):
            with torch.no_grad():
                logits = model(batch.tokens, use_cache=False, logits_to_keep=batch.scored).logits
            total += float(batch.score(logits).exp().sum())
        means.append(total / len(prompts))
    return means


def hash_alone(root: Path) -> list[float]:
    """Nothing but what a scan does in its second thread."""
    return [float(describe_content(root / f"step{step}").bytes) for step in range(CHECKPOINTS)]


def scan(root: Path, out: Path) -> list[float]:
    """The same by a scan."""
    name = f"folder:{root}"
    spec = ScanSpec(suite=name, capabilities=CAPABILITIES, strategy="grid")
    folder = api.scan(spec, suite=open_suite(name), out=out, device="cpu", console=Console(quiet=True))
    probes = folder.records().probes.group_by("step").aggregate([("probability", "mean")]).sort_by("step")
    return probes["probability_mean"].to_pylist()


@dataclass(frozen=True)
class Spent:
    """Seconds of one program in one round."""

    processor: float
    clock: float


def spend(program: Callable[[], list[float]]) -> tuple[list[float], Spent]:
    """What the program gives, and what it took."""
    processor, clock = time.process_time(), time.perf_counter()
    found = program()
    return found, Spent(time.process_time() - processor, time.perf_counter() - clock)


def measure() -> tuple[list[Spent], list[Spent], list[Spent]]:
    """By round, of the plain loop, of the scan, and of the hashes alone."""
    plain: list[Spent] = []
    ours: list[Spent] = []
    hashed: list[Spent] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        make_suite(root)
        for number in range(ROUNDS + 1):  # the first round warms everything up
            expected, one = spend(lambda: scan_plainly(root))
            found, other = spend(lambda number=number: scan(root, Path(folder) / str(number)))
            torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=0.0)
            if number:
                plain.append(one)
                ours.append(other)
                hashed.append(spend(lambda: hash_alone(root))[1])
    return plain, ours, hashed


def tell(plain: list[float], ours: list[float], name: str) -> list[str]:
    """The rows of one kind of time."""
    ratios = sorted(b / a for a, b in zip(plain, ours, strict=True))
    each = [statistics.median(seconds) / CHECKPOINTS for seconds in (plain, ours)]
    spread = f"{statistics.median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f}"
    return [f"| {name} | {each[0]:.3f} | {each[1]:.3f} | {spread} |"]


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    waiting = os.getloadavg()[0]
    plain, ours, hashed = measure()
    hashing = statistics.median(each.processor for each in hashed) / CHECKPOINTS
    unhashed = [one.processor - other.processor for one, other in zip(ours, hashed, strict=True)]
    lines = [
        "# Time of a scan",
        "",
        "Generated by `.venv/bin/python benchmarks/scanning.py --write`, not by hand.",
        "",
        f"- Machine: {describe_machine()}; {waiting:.1f} processes on average were waiting for it when this began",
        f"- Date: {date.today().isoformat()}",
        f"- Work: {CHECKPOINTS} checkpoints of Pythia-14M's shape ({ROUNDS} rounds, in turn), 32 prompts, float32, one "
        "thread of PyTorch. The plain loop loads each as the library does, runs it and takes the target's probability.",
        "- A scan does the same, and besides hashes the files (in a second thread), looks whether the model is causal "
        "and what of it was missing, takes ranks and margins, and writes records that survive a kill. It has the "
        "library build the model twice, and then puts the weights into copies.",
        f"- The hashes alone take the processor {hashing:.3f} s for each checkpoint.",
        "",
        "| time of | plain loop, s for each checkpoint | scan | ratio | range of ratio |",
        "| --- | --- | --- | --- | --- |",
        *tell([each.clock for each in plain], [each.clock for each in ours], "the clock"),
        *tell([each.processor for each in plain], [each.processor for each in ours], "the processor"),
        *tell([each.processor for each in plain], unhashed, "the processor, less the hashes"),
    ]
    Console().print("\n".join(lines), markup=False, highlight=False)
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
