"""How much of the spread of emergence steps is the map, the seed and the row."""

from collections.abc import Mapping, Sequence

from rich.console import Console

from saltus.api.statistics import Source, check_alike, list_rows, read_emergences
from saltus.curves import Curves, Emergence, Emergences
from saltus.errors import SaltusError
from saltus.measure.variance import Part, VarianceSplit, split_variance
from saltus.monitor.folder import MonitorFolder
from saltus.report.terminal.splits import describe_split, tabulate_split
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.train.folder import RunFolder

_OF_RUNS: Mapping[Part, str] = {"map": "map", "seed": "seed", "row": "row", "rest": "rest"}
_OF_CURVES: Mapping[Part, str] = {"map": "group", "seed": "seed", "row": "unit", "rest": "rest"}

_FREE = ("name", "seeds", "master_seed", "map", "emergence")
"""What runs may differ in; and in how long they were trained."""


def split(
    *sources: Source,
    unit: str | None = None,
    threshold: float | None = None,
    hold: int | None = None,
    master_seed: int = 0,
    console: Console | None = None,
) -> VarianceSplit:
    """Split the variance of log steps into the parts of maps, seeds and rows, with intervals.

    A run has one map, or with `map="seed"` one for each seed; runs of other master seeds have others. Of curves each
    group is a map, and each unit a row; of a scan the prompts are the rows. All rows are taken, or `unit` alone;
    `threshold` and `hold` stand in for those of the sources' rules. Where a `console` is given the sentence and the
    table are printed.

    Raises:
        SaltusError: if runs differ in more than map and seed, too few units emerged, or there is nothing to split.

    """
    specs = [source.spec() for source in sources if isinstance(source, RunFolder)]
    _check_alike(specs)
    every: list[Emergences] = []
    for source in sources:
        found, whole = read_emergences(source, unit=unit, threshold=threshold, hold=hold)
        every.append(found.unit(unit) if unit is not None else list_rows(source, found, whole))
    check_alike("split", sources, every)
    rows: list[tuple[str, str, str, float, float]] = []  # map, seed, row, and both ends
    for place, (source, chosen) in enumerate(zip(sources, every, strict=True)):
        named = _name_maps(source, place, chosen)
        rows += [
            (name, e.key.seed, e.key.unit, *both)
            for name, e, *both in zip(named, chosen, *(end.tolist() for end in chosen.intervals()), strict=True)
        ]
    if not rows:
        raise SaltusError("split: there is no row; give runs, scans or curves of one measure")
    maps, seeds, units, left, right = zip(*rows, strict=True)
    result = split_variance(left, right, maps, seeds, units, Streams(master_seed).generator("bootstrap"))
    if console is not None:
        words = _OF_RUNS if len(specs) == len(sources) else _OF_CURVES
        console.print(describe_split(result, words), markup=False, highlight=False)
        console.print(tabulate_split(result, words))
    return result


def _name_maps(source: Source, place: int, found: Sequence[Emergence]) -> list[str]:
    """The map of each emergence; a run's is known by its master seed, of whatever else there is each group is one."""
    match source:
        case RunFolder():
            spec = source.spec()
            return [f"{spec.master_seed}" + (f", {e.key.seed}" if spec.map == "seed" else "") for e in found]
        case MonitorFolder():
            return [e.key.group for e in found]
        case Curves() | Emergences():
            return [f"{place}, {e.key.group}" for e in found]
        case _:
            return [f"{source.path.resolve()}, {e.key.group}" for e in found]


def _check_alike(specs: Sequence[RunSpec]) -> None:
    """Refuse runs that differ in more than their map and their seeds.

    Raises:
        SaltusError: if they do; it names the first difference.

    """
    dumps = [spec.model_dump(mode="json", exclude=set(_FREE)) for spec in specs]
    for dump in dumps:
        del dump["training"]["steps"]
        for key, value in dump.items():
            if value != dumps[0][key]:
                raise SaltusError(
                    f"split: {specs[0].name} and another run differ in {key}; runs may differ in their master seed, in "
                    "map and in seeds alone, so give runs of one setting"
                )
