"""Pooled seeds in a table."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from saltus.measure.coverage import Coverage
from saltus.train.evaluation import PooledUnits


def tabulate_pools(pools: Sequence[tuple[str, Coverage, Sequence[PooledUnits]]], level: float) -> Table:
    """A line for each group and K; `level` is the progress at which a unit of pooled logits counts as there."""
    table = Table("", "seeds, K", "units that one of K seeds has", "95%")
    measured = any(logits for _, _, logits in pools)
    if measured:
        table.add_column("units that the mean of K logits has")
    for group, coverage, logits in pools:
        known = {each.size: each for each in logits}
        for size, share in zip(coverage.sizes, coverage.shares, strict=True):
            cells = [str(size), f"{share.value or 0.0:.0%}", f"{share.lower:.0%} to {share.upper:.0%}"]
            if size in known:
                pooled = known[size]
                choices = "" if pooled.choices == 1 else f" (of {pooled.choices} choices)"
                cells.append(f"{(pooled.progress >= level).mean():.0%}{choices}")
            table.add_row(Text(group if size == coverage.sizes[0] else ""), *cells)
        table.add_section()
    return table
