"""What can be done with the checkpoints of language models: pocket, audit, patch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from saltus.arguments import DEFAULT_POCKETS, DEFAULT_ROOT, AnyPath
from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.capabilities.prompt_file import warn_of_joined_words
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.suites.base import Run, Suite, locate_checkpoint, select_runs
from saltus.lm.suites.build import open_suite
from saltus.provenance import describe_provenance
from saltus.report.terminal.notebook import open_console
from saltus.specs.capabilities import BaseCapabilitySpec, PromptFileSpec
from saltus.specs.checkpoints import AuditSpec, PatchSpec
from saltus.specs.pocket import PocketSpec

if TYPE_CHECKING:
    import torch

# Modules that load torch or transformers are imported late: listing and reporting must not wait for them.


def pocket(
    spec: PocketSpec,
    *,
    out: AnyPath = DEFAULT_POCKETS,
    processes: int | None = None,
    console: Console | None = None,
) -> Path:
    """Train a pocket suite in a folder of its own under `out`, or go on with it; `folder:PATH` is then its name.

    `processes` is how many train at a time, one for each core unless it is given; 1 is this one.
    """
    require_extra("lm", "training language models")
    out = Path(out)
    from saltus.lm.pocket.folder import PocketFolder
    from saltus.lm.pocket.train import train_pocket
    from saltus.report.terminal.pocket import PocketView

    root = PocketFolder.find(out, spec, spec.name).path
    with PocketView(spec, console or open_console()) as view:
        train_pocket(spec, root, view, processes)
    return root


def audit(
    suite: Suite,
    *,
    sizes: Sequence[str] = (),
    seeds: Sequence[str] = (),
    out: AnyPath = DEFAULT_ROOT,
    console: Console | None = None,
) -> AuditFolder:
    """Are the checkpoints of a suite what they say they are? Kept under `out`, where scans look for it."""
    require_extra("lm", "an audit")
    out = Path(out)
    from saltus.lm.audit.audit import audit_suite
    from saltus.report.terminal.audit import AuditView

    runs = select_runs(suite, sizes, seeds)
    checkpoints = sum(len(suite.steps(run)) for run in runs)
    folder = AuditFolder.of(out, suite.name)
    with (
        folder.writing(AuditSpec(suite=suite.name), again=True),
        AuditView(suite.name, checkpoints, console or open_console()) as view,
    ):
        audit_suite(suite, runs, folder, view)
        folder.finish(describe_provenance())
    return folder


def patch(
    spec: PatchSpec,
    *,
    suite: Suite | None = None,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    trajectory: bool = True,
    console: Console | None = None,
) -> PatchFolder:
    """Which heads brought a capability? The patch of `spec`, in a folder of its own under `out`.

    A finished patch is returned as it is, and an interrupted one goes on after its last unit of work; either is refused
    if the files of the two checkpoints have changed. Unless `trajectory` is False, the target's probability is also
    measured at some checkpoints around the pair, of those that are at hand; what goes wrong there costs nothing else.
    """
    out = Path(out)
    console = console or open_console()
    folder = PatchFolder.find(out, spec, "patch")
    if folder.finished:
        folder.require(spec)
        if side := _find_others(spec, suite, folder):
            raise _tell_others(folder, side)
        console.print(Text(f"{folder.path} is finished already; move it away to patch again"), soft_wrap=True)
        return folder
    require_extra("lm", "a patch")
    from saltus.engines.local import choose_device

    chosen = choose_device(device)
    if not folder.gathered:
        suite = suite or open_suite(spec.suite)
        tell_joined_words([spec.capability], console)
        _measure_patch(spec, suite, folder, chosen, console)
    with folder.writing(spec):
        if trajectory and not folder.has_trajectory:
            _add_trajectory(spec, suite, folder, chosen, console)
        folder.finish({"device": chosen.type, **describe_provenance("torch", "transformers")})
    return folder


def _measure_patch(
    spec: PatchSpec, suite: Suite, folder: PatchFolder, device: "torch.device", console: Console
) -> None:
    """Everything but the trajectory, which is then in the folder."""
    from saltus.lm.capabilities.build import make_prompts
    from saltus.lm.patching.patch import patch_heads
    from saltus.lm.patching.units import Units
    from saltus.lm.suites.content import describe_content
    from saltus.lm.suites.load import load_model
    from saltus.lm.suites.tokenizer_files import find_tokenizer
    from saltus.lm.suites.tokenizers import load_tokenizer
    from saltus.report.terminal.patch import PatchView

    sides = _list_sides(spec, suite)
    for run, step in sides.values():
        if step not in suite.steps(run):
            raise SaltusError(
                f"step: {step} is not among the steps of {run} in {suite.name}; {_name_steps(suite, run)}"
            )
    console.print(Text(f"{folder.path.name}: loading two checkpoints of {spec.size}"), soft_wrap=True)
    paths = [suite.fetch(run, step) for run, step in sides.values()]
    contents = {side: describe_content(path) for side, path in zip(sides, paths, strict=True)}
    known = folder.checkpoints()
    for side, content in contents.items():
        if side in known and known[side].sha256 != content.sha256:
            raise _tell_others(folder, side)
    tokenizer, other = (load_tokenizer(find_tokenizer(path, spec.tokenizer) or path) for path in paths)
    prompts, same = (make_prompts(spec.capability, each, spec.master_seed, bos=spec.bos) for each in (tokenizer, other))
    if prompts != same:
        raise SaltusError(
            f"the tokenizers of {' and '.join(str(run) for run, _ in sides.values())} make different prompts; patch "
            "between runs that share one"
        )
    before, after = (load_model(path, spec.precision, device) for path in paths)
    for note in dict.fromkeys(each.note for each in (before, after) if each.note):
        console.print(Text(f"{folder.path.name}: {note}"), soft_wrap=True)
    with folder.writing(spec), PatchView(folder.path.name, console) as view:
        folder.keep_checkpoints(contents)
        units = Units(folder, view)
        folder.commit(patch_heads(spec, before.model, after.model, prompts, tokenizer, units))


def _list_sides(spec: PatchSpec, suite: Suite) -> dict[str, tuple[Run, int]]:
    """By name, run and step of the two checkpoints."""
    return {
        "recipient": (_find_run(suite, spec.size, spec.seed), spec.recipient),
        "donor": (_find_run(suite, spec.size, spec.donor_seed or spec.seed), spec.donor),
    }


def _find_others(spec: PatchSpec, suite: Suite | None, folder: PatchFolder) -> str | None:
    """The side of a finished patch whose files are here and are others by now; None where that cannot be seen."""
    known = folder.checkpoints()
    if not known:  # a patch of the version before, for which no suite has to be opened
        return None
    try:
        suite = suite or open_suite(spec.suite)
        for side, (run, step) in _list_sides(spec, suite).items():
            place = locate_checkpoint(suite, run, step)
            if place is not None and side in known and not known[side].is_of(place):
                return side
    except SaltusError:  # what is finished can be had without its suite
        return None
    return None


def _tell_others(folder: PatchFolder, side: str) -> SaltusError:
    return SaltusError(
        f"{folder.path}: the files of the {side} are others than those that were patched; move the folder away to "
        "patch these, or bring the former ones back"
    )


def _add_trajectory(
    spec: PatchSpec, suite: Suite | None, folder: PatchFolder, device: "torch.device", console: Console
) -> None:
    """The target's probability around the jump; what goes wrong is said, and ends nothing else."""
    from saltus.lm.patching.patch import tabulate_trajectory
    from saltus.lm.patching.trajectory import follow_target

    measured: dict[int, NDArray[np.float64]] = {}
    try:
        suite = suite or open_suite(spec.suite)
        measured.update(follow_target(spec, suite, _find_run(suite, spec.size, spec.seed), device))
    except SaltusError as error:
        console.print(Text(f"{folder.path.name}: the trajectory ends early ({error})"), soft_wrap=True)
    folder.add_trajectory(tabulate_trajectory(measured))


def tell_joined_words(capabilities: Sequence[BaseCapabilitySpec], console: Console) -> None:
    """Say of files of prompts whose texts and answers would join to one word."""
    for capability in capabilities:
        warning = warn_of_joined_words(capability) if isinstance(capability, PromptFileSpec) else ""
        if warning:
            console.print(Text(f"{capability.name}: {warning}"), soft_wrap=True)


def _find_run(suite: Suite, size: str, seed: str) -> Run:
    return select_runs(suite, [size], [seed])[0]


def _name_steps(suite: Suite, run: Run) -> str:
    steps = suite.steps(run)
    return f"there are {len(steps)}, from {steps[0]} to {steps[-1]}" if steps else "there are none"
