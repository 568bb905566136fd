"""Finished seeds pooled: what share of the units do K of them cover, and what does the mean of their logits know?"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from saltus.api.folders import Folder
from saltus.api.statistics import list_rows, read_emergences
from saltus.curves import Curves
from saltus.extras import require_extra
from saltus.measure.coverage import Coverage, estimate_coverage, gather_learned
from saltus.report.terminal.pooling import tabulate_pools
from saltus.seeding import Streams
from saltus.train.evaluation import PooledUnits
from saltus.train.folder import RunFolder


@dataclass(frozen=True)
class Pool:
    """The seeds of one group, pooled."""

    group: str
    coverage: Coverage
    logits: tuple[PooledUnits, ...] = ()
    """The mean of logits, for each K of the coverage; nothing where there are curves alone, or no weights."""


def pool(
    source: Folder | Curves,
    *,
    sizes: Sequence[int] = (),
    threshold: float | None = None,
    hold: int | None = None,
    own_code: bool = False,
    console: Console | None = None,
) -> list[Pool]:
    """Pool the finished seeds of a run, a scan or anybody's curves, for each group.

    A unit is covered by K seeds if it emerged in one of them and was not lost again. `sizes` are the K, powers of two
    and all seeds unless given. Of a run, the mean of the logits of K seeds is measured too; the code of an own task or
    mixer is executed for that only with `own_code`. Where a `console` is given the table is printed.

    Raises:
        SaltusError: if the source has no curves, or seeds lack units that others have; or if a run keeps code that was
            not allowed.

    """
    found, whole = read_emergences(source, threshold=threshold, hold=hold)
    rows = list_rows(source, found, whole)
    pools: list[Pool] = []
    for group in rows.groups:
        learned = gather_learned(rows.group(group))
        chosen = tuple(sizes) or list_sizes(len(learned))
        coverage = estimate_coverage(learned, chosen, Streams(0).generator("bootstrap"))
        pools.append(Pool(group, coverage, _pool_logits(source, coverage.sizes, own_code=own_code)))
    if console is not None:
        parts = [(each.group, each.coverage, each.logits) for each in pools]
        console.print(tabulate_pools(parts, found.rule.level))
    return pools


def _pool_logits(source: Folder | Curves, sizes: Sequence[int], *, own_code: bool) -> tuple[PooledUnits, ...]:
    """Of a run with weights; nothing of anything else."""
    if not isinstance(source, RunFolder) or not source.newest():
        return ()
    require_extra("train", "the mean of logits")
    from saltus.train.pooled import measure_pooled  # with torch, which curves do not need
    from saltus.train.trained import check_code

    check_code(source.spec(), own_code=own_code, parts=("model", "task"))
    return tuple(measure_pooled(source, sizes))


def list_sizes(seeds: int) -> tuple[int, ...]:
    """1, 2, 4, ... and all seeds.

    >>> list_sizes(6)
    (1, 2, 4, 6)
    """
    powers = [2**power for power in range(seeds.bit_length()) if 2**power < seeds]
    return (*powers, seeds)
