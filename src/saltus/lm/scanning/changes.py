"""What has become of a suite since its checkpoints were measured."""

from collections.abc import Mapping

from saltus.lm.scanning.folder import Missing, ScanFolder
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite, locate_checkpoint, select_runs, select_steps
from saltus.lm.suites.content import describe_content, take_fault_stamp, take_stamp
from saltus.specs.checkpoints import ScanSpec


def has_changed(
    spec: ScanSpec, suite: Suite, folder: ScanFolder, unusable: Mapping[Run, Mapping[int, str]] | None = None
) -> bool:
    """Whether a finished scan has something to do again; the folder must be held. `unusable` is as for `scan`.

    There may be new runs or steps; files that are others than those that were measured, or than those that could not
    be; checkpoints that could not be reached; and others than before may be not to be used.
    """
    listed = select_steps(suite, select_runs(suite, spec.sizes, spec.seeds), spec.steps)
    recorded = folder.runs()
    if any(step not in recorded.get(run, ()) for run, steps in listed.items() for step in steps):
        return True
    for run in recorded:
        missing = folder.missing(run)
        excluded = {step: one.reason for step, one in missing.items() if one.kind == "excluded"}
        if excluded != dict((unusable or {}).get(run, {})) or find_changed(suite, folder, run):
            return True
        if any(_may_be_there(spec, suite, run, step, one) for step, one in missing.items()):
            return True
    return False


def _may_be_there(spec: ScanSpec, suite: Suite, run: Run, step: int, missing: Missing) -> bool:
    """Whether a checkpoint that could not be measured is another one now."""
    if missing.kind != "fault":
        return missing.kind == "unreachable"
    place = locate_checkpoint(suite, run, step)
    return place is not None and take_fault_stamp(place, spec.tokenizer) != missing.stamp


def find_changed(suite: Suite, folder: ScanFolder, run: Run) -> list[int]:
    """The measured steps of a run, increasing, whose files are here and others than those that were measured.

    Files that only have another time are recorded with it. The folder must be held.
    """
    changed: list[int] = []
    for step in folder.measured_steps(run):
        place, measured = locate_checkpoint(suite, run, step), folder.content(run, step)
        if place is None or measured is None:
            continue
        try:
            if take_stamp(place) == measured.stamp:
                continue
            if measured.is_of(place):
                folder.renew(run, step, describe_content(place))
            else:
                changed.append(step)
        except MissingCheckpoint:  # gone in this moment
            continue
    return changed
