"""The pocket suites of a trial: trained, scanned, and kept as curves."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from saltus.api.checkpoints import pocket
from saltus.api.scanning import scan
from saltus.arguments import DEFAULT_POCKETS, AnyPath
from saltus.curves import Rule
from saltus.report.terminal.notebook import open_console
from saltus.specs.capabilities import BaseCapabilitySpec
from saltus.specs.checkpoints import ScanSpec
from saltus.specs.pocket import PocketSpec
from saltus.storage.files import remove
from saltus.studies.pockets import PocketResult, measure_share, read_pockets, write_pockets
from saltus.studies.trial import Planned


def measure_pockets(
    planned: Sequence[Planned[PocketSpec]],
    *,
    capability: BaseCapabilitySpec,
    rule: Rule,
    kept: AnyPath,
    out: AnyPath = DEFAULT_POCKETS,
    processes: int | None = None,
    console: Console | None = None,
) -> list[PocketResult]:
    """Train suites of one size each, and scan them for one capability; results in their order.

    `rule` is of the share of prompts that are right. The curves are added to the Parquet file `kept` suite by suite,
    and what it has is not made again, but for a teacher whose suite is gone. Suites lie in `out`; each that was not
    there before is removed once it is measured, unless another learns from it. `processes` is as of `pocket`.
    """
    console, kept, out = console or open_console(), Path(kept), Path(out)
    teachers = {each.needs for other in planned for each in other.run.interventions}
    known = {result.suite.content_hash: result for result in read_pockets(kept, rule)}
    before = {path.name for path in out.glob("*")}
    due = [each.run for each in planned if each.run.content_hash not in known]
    wanted = {each.needs for run in due for each in run.interventions}
    for place, each in enumerate(planned, 1):
        if each.run.content_hash in known:
            if each.run.identify(each.run.name) in wanted:
                pocket(each.run, out=out, processes=processes, console=console)
            continue
        root = pocket(each.run, out=out, processes=processes, console=console)
        asked = ScanSpec(suite=f"folder:{root}", capabilities=(capability,), strategy="grid")
        scanned = scan(asked, out=out, device="cpu", console=console)
        sets = scanned.records().curves.select(unit=capability.name)
        known[each.run.content_hash] = PocketResult(each.key, each.run, measure_share(tuple(sets), rule))
        write_pockets(list(known.values()), kept)
        for path in (scanned.path, root):
            if path.name not in before and path.name not in teachers:
                remove(path)
        console.print(Text(f"{each.run.name} is measured, {place} of {len(planned)}"), soft_wrap=True)
    return [known[each.run.content_hash] for each in planned]
