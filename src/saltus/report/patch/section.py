"""The sections of a page that are about patches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from saltus.lm.patching.effects import Interval
from saltus.lm.patching.records import PatchRecords
from saltus.report.html.blocks import Block, Cell, Chooser, Column, FigureViews, Folded, Grid, Part, Row, Section, Table
from saltus.report.html.labels import plural
from saltus.report.html.settings import fold_settings
from saltus.report.patch import captions, figures
from saltus.report.patch.maps import pack_maps
from saltus.report.patch.summary import (
    INTO_DONOR,
    INTO_RECIPIENT,
    PatchResult,
    describe_verdict,
    format_effect,
    list_heads,
    summarise_patch,
)


def describe_patches(patches: Sequence[PatchRecords]) -> list[Section]:
    """A section for each patch."""
    return [_describe_patch(records) for records in patches]


def _describe_patch(records: PatchRecords) -> Section:
    result, spec = summarise_patch(records), records.spec
    jump = figures.draw_jump(result), captions.caption_jump(result)
    screen = figures.draw_screen(result), captions.caption_screen(result)
    alt = "Lines of the probability of the target at the checkpoints around the jump, with recipient and donor marked"
    blocks: list[Block] = [*_fold(records), FigureViews("jump", "The jump", alt, {"": jump})]
    if result.gain.estimate > 0.0:
        alt = "Bars of the share of the gain that sets of heads recover, beside as many random heads and all heads"
        shares = figures.draw_shares(result), captions.caption_shares(result)
        blocks.append(FigureViews("shares", "How much do a few heads bring?", alt, {"": shares}))
    if grids := [
        grid
        for title, kinds, caption in (
            ("Into the recipient, before the jump", INTO_RECIPIENT, captions.caption_recipient_maps),
            ("Into the donor, after the jump", INTO_DONOR, captions.caption_donor_maps),
        )
        for grid in _draw_grid(result, title, kinds, caption)
    ]:
        blocks.append(Part("Each head alone, beside its controls", grids))
    if packed := pack_maps(result):
        maps, prompts = packed
        title = "What these heads attend to, before and after"
        blocks.append(Part(title, [maps], [Chooser("prompt", "Prompt", prompts)]))
    alt = "Dots of the exact effect of each head over its first-order estimate; the table of heads holds the same"
    blocks.append(FigureViews("screen", "Would a cheaper search have found them?", alt, {"": screen}))
    blocks.append(Part("Every number", [_tabulate_sets(result), _tabulate_heads(result)]))
    capability = spec.capability.kind.replace("_", " ")
    return Section(
        name=f"Heads patched: {capability} in {spec.suite} {spec.size}, seed {spec.seed}",
        question="Which heads brought it?",
        headline=describe_verdict(result),
        essence=_describe_essence(result),
        blocks=blocks,
    )


def _draw_grid(
    result: PatchResult, title: str, kinds: tuple[str, ...], caption: Callable[[PatchResult, float], str]
) -> list[Grid]:
    """Maps of some kinds of effects in the same colours; nothing if none is known."""
    limit = figures.find_limit(result, kinds)
    known = [kind for kind in kinds if kind in result.maps and np.isfinite(result.maps[kind]).any()]
    maps = [
        FigureViews(
            f"map-{kind}",
            f"{kind}: {captions.MEANINGS[kind]}",
            f"Heatmap of layers by heads: mean change of the probability of the target with {captions.MEANINGS[kind]}",
            {"": (figures.draw_map(result, kind, limit), "")},
        )
        for kind in known
    ]
    return [Grid(title, maps, (format_effect(-limit), format_effect(limit)), caption(result, limit))] if maps else []


def _tabulate_sets(result: PatchResult) -> Table:
    names = ("probability", "probability_lower", "probability_upper", "share", "share_lower", "share_upper")
    columns = [Column("kind", style="name"), Column("heads", style="name"), Column("draw"), Column("size")]
    rows = [
        Row(
            (
                found.kind,
                list_heads(found),
                found.draw,
                len(found.heads),
                *_show(found.probability),
                *_show(found.share),
            )
        )
        for found in result.effects.sets
    ]
    note = (
        "Heads are layer.head, counted from 0, in the order in which they were chosen. The share is of the gain from "
        f"recipient to donor; ends are those of the {result.gain.level:.0%} bootstrap interval over prompts."
    )
    file = f"{result.records.path.name}-sets.csv"
    return Table("Sets of heads", [*columns, *map(Column, names)], rows, note, file)


def _tabulate_heads(result: PatchResult) -> Table:
    """The largest effects first."""
    kinds = [kind for kind in (*INTO_RECIPIENT[1:], *INTO_DONOR) if kind in result.maps]
    names = ("layer", "head", "patch", "patch_lower", "patch_upper", "first_order_estimate", *kinds)
    names = (*names, "log_patch", "log_patch_lower", "log_patch_upper")
    foils = result.without_foil < len(result.records.prompts)
    names = (*names, "logit_patch", "logit_patch_lower", "logit_patch_upper") if foils else names
    patched = sorted((e for e in result.effects.heads if e.kind == "patch"), key=lambda e: -abs(e.effect.estimate))
    rows = [
        Row(
            (
                *place,
                *_show(found.effect),
                *(float(values[place]) for values in maps),
                *_show(found.log_effect),
                *(_show(found.difference) if foils else ()),
            )
        )
        for maps in [[result.estimates, *(result.maps[kind] for kind in kinds)]]
        for found in patched
        for place in [(found.layer, found.head)]
    ]
    note = (
        "Mean change of the target's probability over the prompts; log_patch is that of its log probability, in nats. "
        "Patch, self and shuffled change the recipient; the "
        "others change the donor. The largest effects come first."
    )
    if foils:
        note += " Logit_patch is the change of the target's logit less that of its best foil, in nats."
    if result.without_foil:
        some = f"{result.without_foil} of {len(result.records.prompts)} prompts"
        note += f" {some} have no foil of one token, and so no difference of logits."
    return Table("Single heads", [*map(Column, names)], rows, note, f"{result.records.path.name}-heads.csv")


def _show(found: Interval) -> tuple[Cell, ...]:
    return found.estimate, found.lower, found.upper


def _describe_essence(result: PatchResult) -> str:
    spec = result.records.spec
    layers, heads = result.estimates.shape
    donor = f"step {spec.donor:,}" + (f" of seed {spec.donor_seed}" if not figures.has_own_donor(result) else "")
    some = f", {result.exact} of them exactly" if result.exact < result.heads else ""
    where = "all queries" if spec.queries == "all" else "the last query"
    return (
        f"patterns of {donor} into step {spec.recipient:,} · {plural(layers, 'layer')} of {plural(heads, 'head')}"
        f"{some} · "
        f"{plural(len(result.records.prompts), 'prompt')} · {spec.stage}, {where} · {spec.precision}"
    )


def _fold(records: PatchRecords) -> list[Folded]:
    dump = records.spec.model_dump(mode="json", exclude_none=True)
    capability: Mapping[str, Any] = dump.pop("capability")
    return fold_settings({"patch": {"folder": records.path.name} | dump, "capability": capability})
