"""What to see in each figure, in a sentence or two that are worked out from the run."""

import numpy as np

from saltus.measure.alignment import best_head
from saltus.report.curves.words import format_interval
from saltus.report.html.labels import plural
from saltus.report.run.heads import chance_by_unit, heads_at_end
from saltus.report.run.summary import RunSummary, find_there
from saltus.train.records import RunRecords


def caption_losses(records: RunRecords, summary: RunSummary) -> str:
    """Of the loss by seed."""
    facts, final = records.facts, records.cube("steps", "loss")[:, -1]
    chance, floor = float(facts.chance_loss.mean()), float(facts.floor_loss.mean())
    text = f"Loss over the whole sequence. Chance (dashed) is {chance:.3f} nats"
    if np.isnan(floor):
        text += "; the smallest reachable loss is not known for the whole sequence, so no floor is drawn."
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
    text = f"Seed {seed.seed} learned {seed.learned} of {plural(len(summary.units), noun)}"
    if seed.first is not None and seed.last is not None and seed.learned > 1:
        text += f", the first in steps {format_interval(seed.first)} and the last in {format_interval(seed.last)}"
    text += ". " if not seed.lost else f"; {plural(seed.lost, noun)} fell back at least once. "
    text += f"A ring marks where a {noun} has come {records.rule.level:.0%} of the way from chance (dashed) to "
    unknown = np.isnan(records.facts.floor_loss[records.facts.scored]).any()
    text += "0, since a floor is not known" if unknown else "floor (dotted)"
    return f"{text}; grey lines never did."


def caption_jumps(records: RunRecords, summary: RunSummary, index: int) -> str:
    """Of entropy and truth mass around the emergence."""
    seed, noun = summary.seeds[index], summary.noun
    if not seed.learned:
        return f"No {noun} of seed {seed.seed} emerged, so there is no jump to look at."
    return (
        f"The {plural(seed.learned, noun)} that seed {seed.seed} learned, each aligned at its own emergence and read "
        "from the head with the most mass on its true keys at that step. If finding the pattern is the jump, the mass "
        f"rises at 0 and the entropy falls; the bold line is the median, over offsets that most {noun}s cover, and the "
        "dashed one is uniform attention."
    )


def caption_overlap(records: RunRecords, summary: RunSummary) -> str:
    """Of the overlap with the truth."""
    _, overlap = best_head(heads_at_end(records, "overlap"))
    there, chance = find_there(records)[:, -1], chance_by_unit(records)
    heads = records.spec.model.layers * records.spec.model.attention_heads
    parts = [
        f"{np.nanmean(overlap[shown]):.2f} {name}"
        for shown, name in ((there, "where it is there"), (~there, "where it is not"))
        if np.isfinite(overlap[shown]).any()
    ]
    text = (
        f"How many of a {summary.noun}'s s true keys are among the s keys that its best head attends to most, at step "
    )
    text += f"{summary.end:,}: on average {' and '.join(parts)}"
    if np.isfinite(chance).any():
        guess = f"the luckiest of {plural(heads, 'random head')}"
        if records.facts.varies:
            guess = "a head that looks at a candidate key whatever the content"
        text += f", against {np.nanmean(chance):.2f} for {guess}"
    text += f". A learned {summary.noun} below 1 may be spread over several heads."
    if not records.facts.varies and (np.bincount(records.facts.unit_of_query[records.facts.scored]) > 1).any():
        text += " Units have several queries here, for which that chance level is an upper bound."
    return text
