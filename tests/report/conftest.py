"""Small runs made by hand, of which every number is known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike, NDArray
from tests.report.visit import ARGUMENTS, CHROMIUM

from saltus.curves import Curves, Rule, gather_curves
from saltus.lm.audit.folder import AUDIT_TABLES, AuditRecords
from saltus.lm.patching.records import PATCH_TABLES, PatchRecords
from saltus.lm.scanning.records import SCAN_TABLES, ScanRecords
from saltus.lm.scanning.records import state_rule as state_scan_rule
from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.specs.capabilities import CopyingSpec, IndirectObjectSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.tasks.base import TaskFacts
from saltus.train.measures import MEASURES, Measure
from saltus.train.records import RunRecords, SnapshotRows, Snapshots, state_rule

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVERY = 10
"""Steps between two evaluations."""

Build = Callable[..., RunRecords]


def make_facts(
    size: int, needed: int, states: int, names: Sequence[str] | None, corners: Sequence[str], floor: float
) -> TaskFacts:
    """Cell i of a state needs the cells i, i + 1, ..., i + needed - 1 (in a ring) of the state before."""
    state, cell = np.divmod(np.arange(1, size * states), size)
    key_state, key_cell = np.divmod(np.arange(size * states - 1), size)
    before = key_state[None, :] == state[:, None] - 1
    chance = np.full(size * states - 1, np.log(2.0))
    return TaskFacts(
        symbols=2,
        length=size * states,
        units=tuple(names or (f"row {i}" for i in range(size))),
        unit_of_query=np.where(state > 0, cell, -1),
        truth=before & (np.mod(key_cell[None, :] - cell[:, None], size) < needed),
        candidates=before,
        chance_loss=chance,
        floor_loss=np.where(state > 0, floor, chance),
        corners=tuple(corners),
    )


def build_records(
    progress: ArrayLike,
    *,
    needed: int = 2,
    states: int = 2,
    layers: int = 1,
    heads: int = 2,
    names: Sequence[str] | None = None,
    corners: Sequence[str] = (),
    floor: float = 0.0,
    finished: bool = True,
    name: str = "small",
) -> RunRecords:
    """A run with this progress [seed, evaluation, unit], evaluated every 10 steps.

    The loss is as far from chance as the progress says. The last head of the last layer has the progress as its mass
    and overlap, the others have nothing; patterns are drawn at random.
    """
    values = np.asarray(progress, dtype=np.float64)
    seeds, evaluations, size = values.shape
    facts = make_facts(size, needed, states, names, corners, floor)
    steps = EVERY * np.arange(evaluations)
    spec = RunSpec(
        name=name,
        task=LinearMapSpec(size=size, sparsity=needed, states=states),
        model=TransformerSpec(layers=layers, heads=heads, d_model=8 * heads),
        training=TrainingSpec(steps=int(steps[-1]) or 1, batch_sequences=4, evaluate=ScheduleSpec(every=EVERY)),
        seeds=seeds,
    )
    by_query = np.where(facts.scored, values[..., facts.unit_of_query], 0.0)  # [seed, evaluation, query]
    loss = facts.chance_loss - by_query * (facts.chance_loss - np.nan_to_num(facts.floor_loss))
    unit_loss = facts.mean_by_unit(loss)
    accuracy = 0.5 + values / 2
    by_head = np.zeros((seeds, evaluations, layers, heads, size))
    by_head[:, :, -1, -1] = values
    tables = {
        "steps": {
            "train_loss": loss.mean(-1),
            "lowest_train_loss": loss.mean(-1),
            "loss": loss.mean(-1),
            "scored_loss": loss[..., facts.scored].mean(-1),
            "accuracy": accuracy.mean(-1),
            "exact_units": (values >= 1.0).sum(-1),
            "exact_sequences": (values >= 1.0).all(-1).astype(float),
        },
        "units": {"loss": unit_loss, "accuracy": accuracy, "target_probability": accuracy, "progress": values},
        "positions": {"loss": loss, "accuracy": 0.5 + by_query / 2},
        "heads": {"entropy": 1.0 - by_head, "truth_mass": by_head, "overlap": by_head},
    }
    return RunRecords(
        path=Path("runs") / name,
        spec=spec,
        facts=facts,
        tables={measure.name: tabulate(measure, steps, tables[measure.name]) for measure in MEASURES},
        kept=SnapshotRows.of(_draw_snapshots(facts, steps, seeds, layers, heads)),
        summary={} if finished else None,
        rule=state_rule(spec),
    )


def ramp(evaluations: int, *starts: int | None) -> NDArray[np.float64]:
    """Progress [evaluation, unit] that is 0 and, from the evaluation that is given for a unit on, 1."""
    at = np.arange(evaluations)[:, None]
    return (np.array([[np.inf if start is None else start for start in starts]]) <= at).astype(np.float64)


@pytest.fixture(scope="session")
def build() -> Build:
    return build_records


@pytest.fixture(scope="session")
def three_seeds() -> RunRecords:
    """Seed 0 has row 0 by 20 and row 1 by 40, seed 1 loses row 0 again at 50, seed 2 learns nothing; budget 80."""
    progress = np.stack([ramp(9, 2, 4), ramp(9, 3, None), ramp(9, None, None)])
    progress[1, 5:, 0] = 0.0
    return build_records(progress)


def tabulate(measure: Measure, steps: NDArray[np.int64], columns: Mapping[str, NDArray[np.float64]]) -> pa.Table:
    """The table of a measure from its columns [seed, evaluation, *axes]."""
    schema, shape = measure.schema, next(iter(columns.values())).shape
    index = np.indices(shape).reshape(len(shape), -1)
    keys = dict(zip(("seed", "step", *measure.axes), [index[0], steps[index[1]], *index[2:]], strict=True))
    arrays = keys | {column: value.reshape(-1) for column, value in columns.items()}
    return pa.table([pa.array(arrays[field.name]).cast(field.type) for field in schema], schema=schema)


def _draw_snapshots(facts: TaskFacts, steps: NDArray[np.int64], seeds: int, layers: int, heads: int) -> Snapshots:
    queries = np.flatnonzero(facts.scored)
    shape = (len(steps), seeds, layers, heads, len(queries), facts.queries)
    weights = (
        np.random.default_rng(0).random(shape, dtype=np.float32) * np.tri(facts.queries, dtype=np.float32)[queries]
    )
    return Snapshots(steps, (weights / weights.sum(-1, keepdims=True)).astype(np.float16))


PYTHIA_STEPS = (0, *(2**power for power in range(10)), *range(1000, 144_000, 1000))
"""Steps of Pythia's checkpoints."""


def build_scan(
    emerges: Mapping[tuple[str, str], Sequence[int | None] | None],
    *,
    steps: Sequence[int] = PYTHIA_STEPS[::6],
    capabilities: Sequence[str] = ("copying",),
    foils: Sequence[str] = (),
    prompts: int = 4,
    texts: Sequence[tuple[str, str]] | None = None,
    missing: Sequence[tuple[str, str, int, str]] = (),
    finished: bool = True,
    suite: str = "polypythias",
) -> ScanRecords:
    """A scan in which a prompt of a run is right from the step that `emerges` gives for it; None is never.

    A run whose value is None has no measured checkpoint. All capabilities have the same steps; those in `foils` have a
    margin that dips to -1 at the first quarter of the steps. The probability is 0.9 where a prompt is right, else 0.1.
    """
    probes: list[dict[str, Any]] = []
    dip = steps[len(steps) // 4]
    gone = {(size, seed, step) for size, seed, step, _ in missing}
    for (size, seed), starts in emerges.items():
        for step in [step for step in steps if starts is not None and (size, seed, step) not in gone]:
            for name in capabilities:
                for prompt, start in enumerate(starts or ()):
                    right = start is not None and step >= start
                    margin = (3.0 if right else -1.0 if step == dip else 0.1) if name in foils else np.nan
                    probability = 0.9 if right else 0.1
                    row = {"size": size, "seed": seed, "step": step, "capability": name, "prompt": prompt}
                    row |= {"probability": probability, "logit": 1.0, "rank": 0 if right else 7, "correct": right}
                    probes.append(row | {"margin": margin})
    texts = texts or [(f"0 7 3 {prompt} 1 2 0 7", f" {prompt}") for prompt in range(prompts)]
    tables: dict[str, list[dict[str, Any]]] = {
        "probes": probes,
        "missing": [dict(zip(("size", "seed", "step", "reason"), row, strict=True)) for row in missing],
        "prompts": [
            {"capability": name, "prompt": prompt, "text": text, "target": target}
            for name in capabilities
            for prompt, (text, target) in enumerate(texts)
        ],
        "runs": [{"size": size, "seed": seed, "steps": list(steps)} for size, seed in emerges],
    }
    spec = ScanSpec(suite=suite, capabilities=(CopyingSpec(prompts=prompts),))
    return ScanRecords(
        path=Path("scans/scan-0123456789"),
        spec=spec,
        summary={} if finished else None,
        rule=state_scan_rule(spec),
        **{name: pa.Table.from_pylist(rows, schema=SCAN_TABLES[name]) for name, rows in tables.items()},
    )


def build_patch(
    effects: ArrayLike,
    *,
    gain: float = 0.6,
    greedy: Sequence[float] = (0.5, 0.85),
    random: float = 0.05,
    everything: float = 0.95,
    prompts: int = 6,
    swing: float = 0.0,
    tokens: Sequence[str] = ("When", " Mary", " and", " John", "\n", " to"),
    trajectory: Sequence[int] = (2000, 3000, 4000, 5000, 6000, 7000),
    texts: Sequence[str] | None = None,
    **spec: Any,
) -> PatchRecords:
    """A patch in which patching a head changes the target's probability by `effects` [layer, head], from 0.1.

    On every prompt it is a little different. Sets recover the given shares of the gain; with a `swing` that of every
    other prompt is so much larger, and of the others so much smaller. Shuffled patterns do a twentieth of the effect,
    what goes into the donor does as much downwards, and the screen estimates 0.8 of it.
    """
    values = np.asarray(effects, dtype=np.float64)
    heads = values.shape[1]
    vary = 1.0 + 0.1 * np.linspace(-1.0, 1.0, prompts)  # [prompt]
    recipient, donor = np.full(prompts, 0.1), 0.1 + gain * vary
    order = [(int(place // heads), int(place % heads)) for place in np.argsort(-values.ravel(), kind="stable")]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in PATCH_TABLES}
    for prompt in range(prompts):
        text = texts[prompt % len(texts)] if texts else f"When Mary and John went, John gave it to ({prompt})"
        rows["prompts"].append({"prompt": prompt, "text": text, "target": " Mary"})
        rows["prompts"][-1] |= {"recipient": recipient[prompt], "donor": donor[prompt]}
        for layer, head in order:
            place = {"layer": layer, "head": head, "prompt": prompt}
            effect = values[layer, head] * vary[prompt]
            rows["screen"].append(place | {"effect": 0.8 * effect})
            for kind, start, share in (
                ("patch", recipient, 1.0),
                ("self", recipient, 0.0),
                ("shuffled", recipient, 0.05),
                *((kind, donor, -1.0) for kind in ("reverse", "zero", "mean", "resample", "uniform")),
            ):
                rows["effects"].append({"kind": kind, "probability": start[prompt] + share * effect} | place)
        sets = [("greedy", 0, order[:size], share) for size, share in enumerate(greedy, 1)]
        sets += [("screen", 0, order[:size], 0.9 * share) for size, share in enumerate(greedy, 1)]
        sets += [("random", draw, order[-len(greedy) :], random * draw / 2) for draw in range(5) if greedy]
        for kind, draw, chosen, share in [*sets, ("all", 0, order, everything)]:
            part = share + swing * (1 - 2 * (prompt % 2))
            probability = recipient[prompt] + part * (donor[prompt] - recipient[prompt])
            row = {"kind": kind, "draw": draw, "heads": [list(head) for head in chosen], "prompt": prompt}
            rows["sets"].append(row | {"probability": probability})
        for number, step in enumerate(trajectory):
            probability = 0.1 + gain * vary[prompt] * (number >= len(trajectory) // 2)
            rows["trajectory"].append({"step": step, "prompt": prompt, "probability": probability})
    count = len(tokens)
    uniform = np.tri(count) / np.arange(1, count + 1)[:, None]
    for prompt in range(min(2, prompts)):
        for layer, head in order[: max(1, len(greedy))]:
            for model, pattern in (("recipient", uniform), ("donor", np.eye(count))):
                row = {"model": model, "layer": layer, "head": head, "prompt": prompt, "tokens": list(tokens)}
                rows["patterns"].append(row | {"pattern": pattern.ravel().tolist()})
    settings: dict[str, Any] = {"suite": "polypythias", "size": "160m", "seed": "3", "recipient": 4000, "donor": 5000}
    settings |= {"capability": IndirectObjectSpec(prompts=prompts)}
    return PatchRecords(
        path=Path("patches/patch-0123456789"),
        spec=PatchSpec(**(settings | spec)),
        **{name: pa.Table.from_pylist(rows[name], schema=PATCH_TABLES[name]) for name in PATCH_TABLES},
    )


@pytest.fixture(scope="session")
def scan() -> Callable[..., ScanRecords]:
    return build_scan


@pytest.fixture(scope="session")
def patch() -> Callable[..., PatchRecords]:
    return build_patch


@pytest.fixture(scope="session")
def audit() -> AuditRecords:
    """A note on a whole run, then a fault at a checkpoint."""
    rows = [
        {"size": "14m", "seed": "0", "kind": "known", "severity": "note", "detail": "was another model once"},
        {"size": "410m", "seed": "1", "step": 96000, "other_size": "410m", "other_seed": "1", "other_step": 143000}
        | {"kind": "identical", "severity": "fault", "detail": "the weights are those of another step", "value": 0.0},
    ]
    findings = pa.Table.from_pylist(rows, schema=AUDIT_TABLES["findings"])
    return AuditRecords(Path("audits/audit"), "polypythias", findings, AUDIT_TABLES["checkpoints"].empty_table())


@pytest.fixture(scope="session")
def accuracies() -> Curves:
    """Somebody's evaluations: accuracy on two tasks in two groups of two seeds, at 0, 100, ..., 400.

    Both tasks are there from 200 on in every seed of `large`, and in none of `small` but for seed b's `sums` from 300.
    """
    steps = 100 * np.arange(5)
    late = (steps >= 200)[None, :, None] * np.ones((2, 1, 2))
    early = np.zeros((2, 5, 2))
    early[1, 3:, 0] = 1.0
    units = ["sums", "<b>words"]
    found = [gather_curves("small", ["a", "b"], units, steps, early, chance=0.0, ceiling=1.0)]
    found.append(gather_curves("large", ["a", "b"], units, steps, late, chance=0.0, ceiling=1.0))
    rule = Rule(above=0.5, hold=2)
    return Curves(tuple(curve for group in found for curve in group), "accuracy", rule, notes=("Read from a folder.",))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; ends where it is")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
