"""What can be done with the checkpoints of language models: pocket, audit, scan, patch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.api.folders import DEFAULT_ROOT
from saltus.api.provenance import describe_provenance
from saltus.errors import SaltusError
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite, select_runs
from saltus.lm.suites.build import open_suite
from saltus.specs.checkpoints import AuditSpec, PatchSpec, ScanSpec
from saltus.specs.pocket import PocketSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

DEFAULT_POCKETS = Path("pockets")

_NEIGHBOURS = 6
"""Checkpoints on each side of a patched pair whose target probability is measured too."""

# Modules that load torch or transformers are imported late: listing and reporting must not wait for them.


def pocket(spec: PocketSpec, *, out: Path = DEFAULT_POCKETS, console: Console | None = None) -> Path:
    """Train a pocket suite in a folder of its own under `out`, or go on with it; `folder:PATH` is then its name."""
    from saltus.lm.pocket.folder import PocketFolder
    from saltus.lm.pocket.train import train_pocket
    from saltus.report.terminal.pocket import PocketView

    root = PocketFolder.find(out, spec, spec.name).path
    with PocketView(spec, console or Console()) as view:
        train_pocket(spec, root, view)
    return root


def audit(
    suite: Suite,
    *,
    sizes: Sequence[str] = (),
    seeds: Sequence[str] = (),
    out: Path = DEFAULT_ROOT,
    console: Console | None = None,
) -> AuditFolder:
    """Are the checkpoints of a suite what they say they are? Kept under `out`, where scans look for it."""
    from saltus.lm.audit.audit import audit_suite
    from saltus.report.terminal.audit import AuditView

    runs = select_runs(suite, sizes, seeds)
    checkpoints = sum(len(suite.steps(run)) for run in runs)
    folder = AuditFolder.of(out, suite.name)
    with (
        folder.writing(AuditSpec(suite=suite.name), again=True),
        AuditView(suite.name, checkpoints, console or Console()) as view,
    ):
        audit_suite(suite, runs, folder, view)
        folder.finish(describe_provenance())
    return folder


def scan(
    spec: ScanSpec,
    *,
    suite: Suite | None = None,
    out: Path = DEFAULT_ROOT,
    device: str = "auto",
    console: Console | None = None,
) -> ScanFolder:
    """Scan in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished scan is returned as it is. `suite` is opened by its name if it is not given. What an audit under `out`
    found to be faulty counts as missing.
    """
    console = console or Console()
    folder = ScanFolder.find(out, spec, "scan")
    if folder.finished:
        folder.require(spec)
        console.print(Text(f"{folder.path} is finished already; move it away to scan again"), soft_wrap=True)
        return folder
    from saltus.engines.local import choose_device
    from saltus.lm.audit.audit import faulty_steps
    from saltus.lm.scanning.scan import scan as scan_checkpoints
    from saltus.report.terminal.scan import ScanView

    suite = suite or open_suite(spec.suite)
    chosen = choose_device(device)
    audited = AuditFolder.of(out, suite.name)
    found = audited.records() if audited.finished else None
    unusable = {run: faulty_steps(found, run) for run in suite.runs()} if found else None
    with folder.writing(spec), ScanView(folder.path.name, console) as view:
        scan_checkpoints(spec, suite, folder, view, chosen, unusable)
        provenance = describe_provenance("torch", "transformers")
        folder.finish({"device": chosen.type, **view.account(), **provenance})
    return folder


def patch(
    spec: PatchSpec,
    *,
    suite: Suite | None = None,
    out: Path = DEFAULT_ROOT,
    device: str = "auto",
    console: Console | None = None,
) -> PatchFolder:
    """Which heads brought a capability? The patch of `spec`, in a folder of its own under `out`.

    A finished patch is returned as it is.
    """
    console = console or Console()
    folder = PatchFolder.find(out, spec, "patch")
    if folder.finished:
        folder.require(spec)
        console.print(Text(f"{folder.path} is finished already; move it away to patch again"), soft_wrap=True)
        return folder
    if folder.gathered:  # a kill, or damage, has cost the summary alone
        with folder.writing(spec):
            folder.finish(describe_provenance("torch", "transformers"))
        return folder
    from saltus.engines.local import choose_device
    from saltus.lm.capabilities.build import make_prompts
    from saltus.lm.patching.patch import patch_heads
    from saltus.lm.suites.load import load_model, load_tokenizer

    suite = suite or open_suite(spec.suite)
    chosen = choose_device(device)
    recipient = _find_run(suite, spec.size, spec.seed)
    donor = _find_run(suite, spec.size, spec.donor_seed or spec.seed)
    sides = ((recipient, spec.recipient), (donor, spec.donor))
    for run, step in sides:
        if step not in suite.steps(run):
            raise SaltusError(
                f"step: {step} is not among the steps of {run} in {suite.name}; {_name_steps(suite, run)}"
            )
    console.print(Text(f"{folder.path.name}: loading two checkpoints of {spec.size}"), soft_wrap=True)
    paths = [suite.fetch(run, step) for run, step in sides]
    tokenizer, other = (load_tokenizer(path) for path in paths)
    prompts, same = (make_prompts(spec.capability, each, spec.master_seed) for each in (tokenizer, other))
    if prompts != same:
        raise SaltusError(
            f"the tokenizers of {recipient} and {donor} make different prompts; patch between runs that share one"
        )
    before, after = (load_model(path, spec.precision, chosen) for path in paths)
    console.print(Text(f"{folder.path.name}: patching every head on {len(prompts)} prompts"), soft_wrap=True)
    with folder.writing(spec):
        tables = patch_heads(spec, before, after, prompts, tokenizer, _load_neighbours(spec, suite, recipient, chosen))
        folder.commit(tables)
        folder.finish({"device": chosen.type, **describe_provenance("torch", "transformers")})
    return folder


def _find_run(suite: Suite, size: str, seed: str) -> Run:
    return select_runs(suite, [size], [seed])[0]


def _name_steps(suite: Suite, run: Run) -> str:
    steps = suite.steps(run)
    return f"there are {len(steps)}, from {steps[0]} to {steps[-1]}" if steps else "there are none"


def _load_neighbours(
    spec: PatchSpec, suite: Suite, run: Run, device: "torch.device"
) -> Iterator[tuple[int, "PreTrainedModel"]]:
    """Checkpoints of the recipient's run around the jump, one at a time; what is missing is left out."""
    from saltus.lm.suites.load import load_model

    steps = list(suite.steps(run))
    first, last = sorted((spec.recipient, spec.donor))
    around = [i for i, step in enumerate(steps) if first <= step <= last]
    for step in steps[max(0, around[0] - _NEIGHBOURS) : around[-1] + 1 + _NEIGHBOURS]:
        try:
            yield step, load_model(suite.fetch(run, step), spec.precision, device)
        except MissingCheckpoint:
            continue
