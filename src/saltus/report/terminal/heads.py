"""Transplants and ablations of heads, as tables on a terminal."""

import numpy as np
from rich.table import Table
from rich.text import Text

from saltus.train.head_effects import Ablation, Changed, Transplant

_WHAT = {
    "all": "all heads",
    "matched": "all heads, matched by pattern",
    "self": "all heads, its own patterns",
    "placebo": "all heads, placebo",
}


def tabulate_transplant(measured: Transplant) -> tuple[Table, Table]:
    """The change of the mean loss for each change of heads; and of each unit's loss with all heads and the controls."""
    before, after = measured.recipient, measured.donor
    heads = Table(
        "the donor's patterns in",
        "loss",
        "change",
        "recovered",
        "unit that changes most",
        title=Text(f"recipient {before.mean():.4f} nats, donor {after.mean():.4f}, mean over units"),
    )
    for each in measured.changed:
        moved = each.loss - before
        unit = int(np.abs(moved).argmax())
        heads.add_row(
            _name(each),
            f"{each.loss.mean():.4f}",
            f"{moved.mean():+.4f}",
            _show_share(measured.recovered_of_all(each.loss)),
            Text(f"{measured.units[unit]}: {moved[unit]:+.4f}"),
        )
    shown = ("all", "matched", "placebo")
    units = Table(
        "unit", "recipient", "donor", *shown, title="loss in nats, and the share of the gap that is recovered"
    )
    losses = [measured.of(kind).loss for kind in shown]
    shares = [measured.recovered(loss) for loss in losses]
    for i, unit in enumerate(measured.units):
        cells = (f"{loss[i]:.4f} {_show_share(share[i])}" for loss, share in zip(losses, shares, strict=True))
        units.add_row(Text(unit), f"{before[i]:.4f}", f"{after[i]:.4f}", *cells)
    return heads, units


def tabulate_ablation(measured: Ablation) -> tuple[Table, Table]:
    """What leaving out each head costs on the mean over units; and the head that costs each unit most."""
    kinds = {"zero": "replaced by zero", "mean": "replaced by its mean"}
    heads = Table("layer", "head", *kinds.values(), title=Text(f"loss {measured.whole.mean():.4f} nats; its change"))
    for zero in (each for each in measured.changed if each.kind == "zero"):
        (mean,) = (e for e in measured.changed if (e.kind, e.layer, e.head) == ("mean", zero.layer, zero.head))
        changes = (f"{(each.loss - measured.whole).mean():+.4f}" for each in (zero, mean))
        heads.add_row(str(zero.layer), str(zero.head), *changes)
    units = Table("unit", "loss", *(f"{words}: worst head" for words in kinds.values()))
    for i, unit in enumerate(measured.units):
        worst = [measured.find_worst(kind, i) for kind in kinds]
        cells = (f"{each.layer}.{each.head}: {each.loss[i] - measured.whole[i]:+.4f}" for each in worst)
        units.add_row(Text(unit), f"{measured.whole[i]:.4f}", *cells)
    return heads, units


def _name(each: Changed) -> str:
    if each.head is not None:
        return f"head {each.layer}.{each.head}"
    return f"layer {each.layer}" if each.kind == "layer" else _WHAT[each.kind]


def _show_share(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.0%}"
