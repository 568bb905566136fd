"""What to see in each figure, in a sentence or two that are worked out from the run."""

import numpy as np

from saltus.measure.alignment import best_head
from saltus.measure.survival import estimate_survival, times_of
from saltus.report.run.attention import INFLUENCE, PackedPatterns
from saltus.report.run.summary import RunSummary, format_interval, heads_at_end
from saltus.train.records import RunRecords


def caption_raster(summary: RunSummary) -> str:
    """Of the emergence steps."""
    count, noun = len(summary.seeds), summary.noun
    total = count * len(summary.units)
    emerged = sum(seed.learned for seed in summary.seeds)
    text = (
        f"{emerged} of {total} {noun}s emerged ({count} seed{_s(count)}, {len(summary.units)} {noun}s each); hatched "
    )
    text += f"cells had not by step {summary.end:,}, which is all that is known of them."
    always = [unit.name for unit in summary.units if unit.emerged == count]
    never = [unit.name for unit in summary.units if not unit.emerged]
    if count > 1 and always and len(always) < len(summary.units):
        text += f" Every seed learned {_list(always)}."
    if never and len(never) < len(summary.units):
        text += f" No seed learned {_list(never)}."
    return text


def caption_losses(records: RunRecords, summary: RunSummary) -> str:
    """Of the loss by seed."""
    facts = records.facts
    chance, floor = float(facts.chance_loss.mean()), float(facts.floor_loss.mean())
    final = [seed.loss for seed in summary.seeds]
    text = f"Loss over the whole sequence. Chance (dashed) is {chance:.3f} nats"
    if np.isnan(floor):
        text += "; the smallest reachable loss is not known for this task, so no floor is drawn."
    elif not facts.scored.all():
        text += (
            f"; the floor (dotted) is {floor:.3f}, since {int((~facts.scored).sum())} of {facts.queries} predictions "
        )
        text += "are of tokens that are drawn at random."
    else:
        text += f"; the floor (dotted) is {floor:.3f}."
    if len(final) > 1 and np.isfinite(final).all():
        text += f" The seeds end between {min(final):.3f} and {max(final):.3f}"
        gain = (facts.chance_loss - facts.floor_loss)[facts.scored].sum() / facts.queries / len(facts.units)
        text += "." if np.isnan(gain) else f"; one {summary.noun} is worth {gain:.3f} on average."
    return f"{text} The chosen seed's line is the thick one."


def caption_unit_losses(records: RunRecords, summary: RunSummary, index: int) -> str:
    """Of the loss by unit of one seed."""
    seed, noun = summary.seeds[index], summary.noun
    share = records.spec.emergence.threshold
    text = f"Seed {seed.seed} learned {seed.learned} of {len(summary.units)} {noun}s"
    if seed.first is not None and seed.last is not None and seed.learned > 1:
        text += f", the first in steps {format_interval(seed.first)} and the last in {format_interval(seed.last)}"
    text += ". " if not seed.lost else f"; {seed.lost} {noun}{_s(seed.lost)} fell back at least once. "
    text += f"A dot marks where a {noun} has come {share:.0%} of the way from chance (dashed) to floor (dotted); "
    return f"{text}grey lines never did."


def caption_survival(summary: RunSummary) -> str:
    """Of the survival curves."""
    tasks = estimate_survival(*times_of([seed.task for seed in summary.seeds]))
    pooled = estimate_survival(*times_of([unit for seed in summary.seeds for unit in seed.units]))
    count = len(summary.seeds)
    if tasks.median is not None:
        text = f"{'Half of the seeds' if count > 1 else 'The one seed'} had the whole task by step {tasks.median:,.0f}"
    elif count == 1:
        text = "The one seed ended without the whole task, so how long a seed takes is unknown"
    else:
        text = f"{count - summary.solved} of {count} seeds ended without the whole task, so its median is unknown"
    if pooled.median is not None:
        text += f"; half of the single {summary.noun}s were there by step {pooled.median:,.0f}"
    return (
        f"{text}. The Kaplan-Meier band is {tasks.level:.0%} for each step on its own; the pooled curve has none, "
        f"because the {summary.noun}s of one seed are not independent of each other."
    )


def caption_patterns(packed: PackedPatterns, summary: RunSummary) -> str:
    """Of the attention over training."""
    noun = summary.noun
    where = "outlined" if packed.keys <= 64 else "in the first map"
    names = next(iter(packed.heads.values()))
    watched = "when the tokens that move it become the true ones" if names == [INFLUENCE] else "which head finds them"
    text = (
        f"Each line of a map is a scored query, labelled by its {noun}, and each column a key; the {packed.marked} are "
        f"{where}. A label turns bold, with a dot, while the {noun} is there: watch {watched} just then."
    )
    if INFLUENCE in names:
        text += (
            " Influence is how far a prediction moves, in total variation, when the token at a key is another one: it "
            "asks of the whole model what attention shows of a head."
        )
    if packed.marked != "true keys":
        text += (
            " Which of them is the true one varies from sequence to sequence, and the maps are means over sequences: a "
            "head that finds it looks spread over all of them. Its truth mass, below, is taken sequence by sequence."
        )
    return f"{text} {packed.describe_omissions()}".strip()


def caption_jumps(records: RunRecords, summary: RunSummary, index: int) -> str:
    """Of entropy and truth mass around the emergence."""
    seed, noun = summary.seeds[index], summary.noun
    if not seed.learned:
        return f"No {noun} of seed {seed.seed} emerged, so there is no jump to look at."
    return (
        f"The {seed.learned} {noun}{_s(seed.learned)} that seed {seed.seed} learned, each aligned at its own emergence "
        f"and read from the head with the most mass on its true keys at that step. If finding the pattern is the jump, "
        f"the mass rises at 0 and the entropy falls; the bold line is the median, over offsets that most {noun}s "
        f"cover, and the dashed one is uniform attention."
    )


def caption_overlap(records: RunRecords, summary: RunSummary) -> str:
    """Of the overlap with the truth."""
    _, overlap = best_head(heads_at_end(records, "overlap"))
    there = records.cube("units", "progress")[:, -1] >= records.spec.emergence.threshold
    heads = records.spec.model.layers * records.spec.model.attention_heads
    parts = [
        f"{np.nanmean(overlap[shown]):.2f} {name}"
        for shown, name in ((there, "where it is there"), (~there, "where it is not"))
        if np.isfinite(overlap[shown]).any()
    ]
    chance = np.array([unit.chance for unit in summary.units])
    text = (
        f"How many of a {summary.noun}'s s true keys are among the s keys that its best head attends to most, at step "
    )
    text += f"{summary.end:,}: on average {' and '.join(parts)}"
    if np.isfinite(chance).any():
        guess = f"the luckiest of {heads} random head{_s(heads)}"
        if records.facts.varies:
            guess = "a head that looks at a candidate key whatever the content"
        text += f", against {np.nanmean(chance):.2f} for {guess}"
    text += f". A learned {summary.noun} below 1 may be spread over several heads."
    if not records.facts.varies and (np.bincount(records.facts.unit_of_query[records.facts.scored]) > 1).any():
        text += " Units have several queries here, for which that chance level is an upper bound."
    return text


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _list(names: list[str]) -> str:
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
