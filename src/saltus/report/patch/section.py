"""The part of the page that is about one patch study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from saltus.lm.patching.effects import Interval, SetEffect
from saltus.lm.records import PatchRecords
from saltus.report.html.labels import plural
from saltus.report.html.page import format_setting, to_json
from saltus.report.html.views import Chooser, FigureViews
from saltus.report.patch import captions, figures
from saltus.report.patch.maps import PackedMaps, pack_maps
from saltus.report.patch.summary import (
    INTO_DONOR,
    INTO_RECIPIENT,
    PatchStudy,
    describe_verdict,
    list_heads,
    summarise_patch,
)


@dataclass(frozen=True)
class HeadRow:
    """Every number about one head."""

    layer: int
    head: int
    patch: Interval
    estimate: float
    others: list[float]
    """[kind] mean effects, in the order of `PatchSection.kinds`."""


@dataclass(frozen=True)
class MapGroup:
    """Maps that share their colours."""

    title: str
    limit: float
    caption: str
    maps: dict[str, tuple[str, str]]
    """By the key of the figure, the kind and what it puts in."""


@dataclass(frozen=True)
class PatchSection:
    """One patch study, as the template needs it."""

    name: str
    folder: str
    study: PatchStudy
    headline: str
    essence: str
    settings: dict[str, dict[str, str]]
    figures: dict[str, FigureViews]
    groups: list[MapGroup]
    packed: PackedMaps | None
    choosers: list[Chooser]
    maps_caption: str
    kinds: list[str]
    """Kinds of effects besides 'patch' that were measured."""
    heads: list[HeadRow]
    sets: list[tuple[SetEffect, str]]
    """With the names of their heads."""

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "choices": {chooser.key: chooser.chosen for chooser in self.choosers},
            "figures": {key: views.data for key, views in self.figures.items()},
            "maps": asdict(self.packed) if self.packed else None,
        }


def describe_patch_section(records: PatchRecords) -> PatchSection:
    """Everything that the page says about a patch study."""
    study = summarise_patch(records)
    spec, packed = records.spec, pack_maps(study)
    kinds = [kind for kind in (*INTO_RECIPIENT[1:], *INTO_DONOR) if kind in study.maps]
    groups = [
        _group_maps(study, "Into the recipient, before the jump", INTO_RECIPIENT, captions.caption_recipient_maps),
        _group_maps(study, "Into the donor, after the jump", INTO_DONOR, captions.caption_donor_maps),
    ]
    drawn = {
        "jump": (figures.draw_jump(study), captions.caption_jump(study)),
        "screen": (figures.draw_screen(study), captions.caption_screen(study)),
    }
    if study.gain.estimate > 0.0:
        drawn["shares"] = (figures.draw_shares(study), captions.caption_shares(study))
    for group in groups:
        drawn |= {key: (figures.draw_map(study, key.removeprefix("map-"), group.limit), "") for key in group.maps}
    capability = spec.capability.kind.replace("_", " ")
    return PatchSection(
        name=f"{capability} in {spec.suite} {spec.size}, seed {spec.seed}",
        folder=records.path.name,
        study=study,
        headline=describe_verdict(study),
        essence=_describe_essence(study),
        settings=_list_settings(records),
        figures={key: FigureViews((), {"": (to_json(figure), text)}, {}) for key, (figure, text) in drawn.items()},
        groups=[group for group in groups if group.maps],
        packed=packed,
        choosers=[Chooser("prompt", "Prompt", [prompt.label for prompt in packed.prompts], 0)] if packed else [],
        maps_caption=captions.caption_maps(study, packed) if packed else "",
        kinds=kinds,
        heads=_list_heads(study, kinds),
        sets=[(found, list_heads(found)) for found in study.effects.sets],
    )


def _group_maps(study: PatchStudy, title: str, kinds: tuple[str, ...], caption: Any) -> MapGroup:
    limit = figures.find_limit(study, kinds)
    known = [kind for kind in kinds if kind in study.maps and np.isfinite(study.maps[kind]).any()]
    maps = {f"map-{kind}": (kind, captions.MEANINGS[kind]) for kind in known}
    return MapGroup(title, limit, caption(study, limit) if maps else "", maps)


def _list_heads(study: PatchStudy, kinds: list[str]) -> list[HeadRow]:
    """By the size of the effect, the largest first."""
    rows = [
        HeadRow(
            layer=found.layer,
            head=found.head,
            patch=found.effect,
            estimate=float(study.estimates[found.layer, found.head]),
            others=[float(study.maps[kind][found.layer, found.head]) for kind in kinds],
        )
        for found in study.effects.heads
        if found.kind == "patch"
    ]
    return sorted(rows, key=lambda row: -abs(row.patch.estimate))


def _describe_essence(study: PatchStudy) -> str:
    spec = study.records.spec
    layers, heads = study.estimates.shape
    donor = f"step {spec.donor:,}" + (f" of seed {spec.donor_seed}" if not figures.has_own_donor(study) else "")
    where = "all queries" if spec.queries == "all" else "the last query"
    return (
        f"patterns of {donor} into step {spec.recipient:,} · {plural(layers, 'layer')} of {plural(heads, 'head')} · "
        f"{plural(len(study.records.prompts), 'prompt')} · {spec.stage}, {where} · {spec.precision}"
    )


def _list_settings(records: PatchRecords) -> dict[str, dict[str, str]]:
    dump = records.spec.model_dump(mode="json", exclude_none=True)
    capability: Mapping[str, Any] = dump.pop("capability")
    groups = {"patch": {"folder": records.path.name} | dump, "capability": capability}
    return {
        group: {key.replace("_", " "): format_setting(value) for key, value in values.items()}
        for group, values in groups.items()
    }
