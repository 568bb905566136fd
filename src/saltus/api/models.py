"""Trained models of a run: load one, transplant patterns, ablate heads."""

from typing import TYPE_CHECKING

from rich.console import Console

from saltus.api.folders import DEFAULT_ROOT, AnyPath, find
from saltus.errors import SaltusError
from saltus.report.terminal.heads import tabulate_ablation, tabulate_transplant
from saltus.report.terminal.notebook import open_console
from saltus.train.folder import RunFolder
from saltus.train.head_effects import Ablation, Transplant

if TYPE_CHECKING:
    from saltus.models.decoder import Decoder
    from saltus.train.material import Material

# Modules that load torch are imported late: listing and reporting must not wait for it.


def load_model(folder: RunFolder | AnyPath, step: int, seed: int, *, own_code: bool = False) -> "Decoder":
    """The model of one seed at a checkpoint: a plain `torch.nn.Module` on the CPU, in evaluation mode.

    From tokens [sequence, query], integers, to float32 logits of the next token [sequence, query, symbol]. An
    intervention is no part of it: what a run adds to attention logits is the second argument, `bias`. A run of an own
    mixer keeps its code, which is executed only with `own_code`.

    Raises:
        SaltusError: if the folder is no run, the step has no checkpoint, or the run no such seed.

    """
    from saltus.train.trained import check_code, load_model

    run = _open(folder)
    check_code(run.spec(), own_code=own_code)
    return load_model(run, step, seed)


def find_run(name: AnyPath, out: AnyPath = DEFAULT_ROOT) -> RunFolder:
    """The run at the path `name`, or the one in `out` whose name starts with it."""
    found = find(str(name), out)
    if not isinstance(found, RunFolder):
        raise SaltusError(f"{found.path} is no run but of the kind {found.kind!r}; give the folder of a run")
    return found


def transplant(
    folder: RunFolder | AnyPath,
    *,
    donor: int,
    recipient: int,
    seed: int = 0,
    donor_seed: int | None = None,
    own_code: bool = False,
    console: Console | None = None,
) -> Transplant:
    """Put the attention patterns of a checkpoint into another one, and measure what that brings.

    `donor` and `recipient` are steps whose weights were kept; `donor_seed` is the recipient's seed unless it is given.
    The placebo is the first checkpoint of the next seed. All is measured on the recipient's evaluation sequences. The
    code of an own task is executed only with `own_code`.
    """
    from saltus.train.surgery import load_patient, transplant_patterns

    run, material = _open_material(folder, seed, own_code=own_code)
    giver, other = seed if donor_seed is None else donor_seed, (seed + 1) % run.spec().seeds
    first = min(run.checkpoint_steps(other), default=0)
    before, after, placebo = (
        load_patient(run, *place, material) for place in ((recipient, seed), (donor, giver), (first, other))
    )
    measured = transplant_patterns(before, after, placebo, material)
    for table in tabulate_transplant(measured):
        (console or open_console()).print(table)
    return measured


def ablate(
    folder: RunFolder | AnyPath,
    *,
    step: int | None = None,
    seed: int = 0,
    own_code: bool = False,
    console: Console | None = None,
) -> Ablation:
    """Leave the output of each head out, and measure what each unit loses; at the last checkpoint unless told."""
    from saltus.train.surgery import ablate_heads, load_patient

    run, material = _open_material(folder, seed, own_code=own_code)
    at = max(run.checkpoint_steps(seed), default=0) if step is None else step
    measured = ablate_heads(load_patient(run, at, seed, material), material)
    for table in tabulate_ablation(measured):
        (console or open_console()).print(table)
    return measured


def _open(folder: RunFolder | AnyPath) -> RunFolder:
    return folder if isinstance(folder, RunFolder) else find_run(folder)


def _open_material(folder: RunFolder | AnyPath, seed: int, *, own_code: bool) -> "tuple[RunFolder, Material]":
    """A run, and what one of its seeds is evaluated on."""
    import torch

    from saltus.train.material import Material
    from saltus.train.trained import check_code

    run = _open(folder)
    spec = run.spec()
    check_code(spec, own_code=own_code, parts=("model", "task"))
    if seed not in range(spec.seeds):
        raise SaltusError(f"seed: {seed} was given; {run.path} has the seeds 0 to {spec.seeds - 1}")
    return run, Material(spec, seed, torch.device("cpu"))
