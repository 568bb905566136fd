"""MLP-Mixer against transformer on the linear map, each at its own best learning rate (S=16, s=3, 5, 7)."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from saltus.measure.gate import Arm, check_comparison, choose_rate
from saltus.measure.outcomes import estimate_share, final_loss, task_emergences
from saltus.measure.survival import estimate_survival, times_of
from saltus.models.build import count_parameters
from saltus.paper.setting import LINEAR_MAP_MODEL, PAPER, linear_map
from saltus.paper.targets import read_targets
from saltus.report.comparison import Claim, Comparison
from saltus.report.plates import OURS, add_legend, label, open_plate
from saltus.results import Results
from saltus.specs import MlpMixerSpec, ModelSpec, RunSpec

ARMS: dict[str, ModelSpec] = {
    "transformer": LINEAR_MAP_MODEL,
    # Without queries and keys it has fewer parameters; the width of the MLP makes up for them.
    "mixer": MlpMixerSpec(layers=1, d_model=128, variant="heads", heads=8, d_mlp=608),
}
RATES = {"3e-4": 3e-4, "1e-3": 1e-3, "3e-3": 3e-3, "1e-2": 1e-2}
SPARSITIES = (3, 5, 7)
SWEPT = 1_000
"""Master seed of the sweep: other maps and other seeds than those that are reported."""


def name_of(arm: str, sparsity: int, rate: str) -> str:
    """The name of a reported cell."""
    return f"{arm}-s{sparsity}-lr-{rate}"


def make(sparsities: Sequence[int], *, seeds: int, swept: int, steps: int) -> list[RunSpec]:
    """The sweep at s=3, and every cell at every rate: which rate is reported is known only after the sweep."""
    cells: list[RunSpec] = []
    for arm, model in ARMS.items():
        for rate, value in RATES.items():
            setting = replace(PAPER, learning_rate=value)
            sweep = linear_map(
                f"sweep-{arm}-lr-{rate}", model=model, setting=setting, seeds=swept, steps=steps, master_seed=SWEPT
            )
            cells.append(sweep)
            cells += [
                linear_map(name_of(arm, s, rate), sparsity=s, model=model, setting=setting, seeds=seeds, steps=steps)
                for s in sparsities
            ]
    return cells


runs = make(SPARSITIES, seeds=8, swept=4, steps=10_000)
laptop = make((3,), seeds=2, swept=2, steps=1_500)


def find_best(results: Results, arm: str) -> str | None:
    """The rate that the sweep chooses; None before it has been run."""
    sweep = {
        value: results[f"sweep-{arm}-lr-{rate}"] for rate, value in RATES.items() if f"sweep-{arm}-lr-{rate}" in results
    }
    return next(rate for rate, value in RATES.items() if value == choose_rate(sweep)) if sweep else None


def list_arms(results: Results) -> list[Arm]:
    """The arms whose sweep has been run. Noise and influence are not measured yet, and the gate says so."""
    arms: list[Arm] = []
    for arm, model in ARMS.items():
        rate = find_best(results, arm)
        names = [] if rate is None else [(s, name_of(arm, s, rate)) for s in SPARSITIES]
        cells = {f"s={s}": results[name] for s, name in names if name in results}
        if cells:
            sweep = {
                value: results[f"sweep-{arm}-lr-{rate}"]
                for rate, value in RATES.items()
                if f"sweep-{arm}-lr-{rate}" in results
            }
            parameters = count_parameters(model, next(iter(cells.values())).facts)
            arms.append(Arm(arm, parameters, cells, noise=None, sweep=sweep, future=None))
    return arms


def draw(results: Results) -> Figure:
    """Survival of the whole task and mean loss, at s=3 and s=7."""
    figure, axes = open_plate(2, 2)
    for column, cell in enumerate(("s=3", "s=7")):
        for colour, arm in zip(OURS, list_arms(results), strict=False):
            if cell not in arm.cells:
                continue
            records = arm.cells[cell]
            curve = estimate_survival(*times_of(task_emergences(records)))
            axes[column].step(curve.times, curve.survival, where="post", color=colour, label=arm.name)
            mean = records.cube("steps", "train_loss").mean(0)
            axes[2 + column].plot(records.evaluated_steps, mean, color=colour, label=arm.name)
        label(axes[column], f"seeds without the whole task, {cell}", "step", "share (Kaplan-Meier)")
        label(axes[2 + column], f"training loss, mean over seeds, {cell}", "step", "nats")
        add_legend(axes[2 + column])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss at s=3 and s=7."""
    rows: list[Comparison] = []
    for arm in list_arms(results):
        for cell, records in arm.cells.items():
            theirs = read_targets("mixer_vs_transformer")["data"].get(cell, {}).get(arm.name)
            rows.append(
                Comparison(f"{arm.name}, {cell}", theirs, list(final_loss(records)), results.scale(records.spec.name))
            )
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """The claim, if the gate lets it be made; otherwise what fails."""
    arms = list_arms(results)
    if len(arms) < 2:
        return []
    failed = [check for check in check_comparison(arms) if not check.passed]
    shares = {
        arm.name: estimate_share(
            sum(not t.censored for t in task_emergences(arm.cells["s=3"])), arm.cells["s=3"].spec.seeds
        )
        for arm in arms
        if "s=3" in arm.cells
    }
    told = "; ".join(f"{n} solves {s.count} of {s.of} ({s.lower:.2f} to {s.upper:.2f})" for n, s in shares.items())
    if failed:
        why = "; ".join(f"{check.name}: {check.why}" for check in failed)
        return [
            Claim("MLP-Mixer beats the transformer on the linear map", "not measured", f"{told}. Fails the gate: {why}")
        ]
    wins = shares["mixer"].count > shares["transformer"].count
    return [
        Claim("MLP-Mixer beats the transformer on the linear map", "reproduced" if wins else "not reproduced", told)
    ]
