"""The section of a page that is about a pocket suite: how far its models are."""

from collections.abc import Sequence

from saltus.lm.pocket.folder import PocketRecords
from saltus.report.html.blocks import Column, Row, Section, Table, Text
from saltus.report.html.labels import plural
from saltus.report.html.settings import fold_settings


def describe_pockets(suites: Sequence[PocketRecords]) -> list[Section]:
    """A section for each suite."""
    return [_describe(records) for records in suites]


def say_progress(records: PocketRecords) -> str:
    """Such as `5 of 12 models are trained, 61% of all steps`."""
    return f"{records.trained} of {plural(len(records.steps), 'model')} are trained, {records.done:.0%} of all steps"


def _describe(records: PocketRecords) -> Section:
    spec = records.spec
    rows = [
        Row((run.size, run.seed, step, spec.steps), strong=step == spec.steps) for run, step in records.steps.items()
    ]
    columns = [Column("size", style="name"), Column("seed", style="name"), Column("newest_checkpoint"), Column("of")]
    return Section(
        name=spec.name,
        question="How far are its models?",
        headline=f"{say_progress(records)}.",
        essence=f"pocket suite · {plural(len(spec.models), 'size')} · {plural(spec.seeds, 'seed')} of each · "
        f"{spec.steps:,} steps",
        blocks=[
            Text("Nothing is measured while its models are trained: a scan of the suite says what emerged in them."),
            *fold_settings({"suite": {"folder": records.path.name} | spec.model_dump(mode="json")}),
            Table("Every model", columns, rows),
        ],
    )
