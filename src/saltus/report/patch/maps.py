"""Attention of the chosen heads before and after, packed for a page."""

import numpy as np

from saltus.report.html.blocks import Maps, MapsView, Panel, pack_weights
from saltus.report.html.labels import shorten_prompt, show_token
from saltus.report.patch.summary import PatchResult, format_change, name_head

_MOST_TOKENS = 96  # of a prompt, its last ones
_MOST_HEADS = 8
_MOST_BYTES = 2_250_000  # of one patch; a third more once they are text


def pack_maps(result: PatchResult) -> tuple[Maps, list[str]] | None:
    """The kept patterns, small enough for a page, and the prompts that can be chosen; None if none were kept."""
    rows, spec = result.records.patterns.to_pylist(), result.records.spec
    kept = list(dict.fromkeys((row["layer"], row["head"]) for row in rows))
    numbers = list(dict.fromkeys(row["prompt"] for row in rows))
    if not kept:
        return None
    patterns = {(row["prompt"], row["model"], row["layer"], row["head"]): row["pattern"] for row in rows}
    tokens_of = {row["prompt"]: row["tokens"] for row in rows}
    texts = {row["prompt"]: (row["text"], row["target"]) for row in result.records.prompts.to_pylist()}
    heads, views, labels, spent = kept[:_MOST_HEADS], list[MapsView](), list[str](), 0
    for number in numbers:
        tokens = [show_token(token) for token in tokens_of[number]]
        shown = tokens[-_MOST_TOKENS:]
        spent += 2 * len(heads) * len(shown) ** 2
        if views and spent > _MOST_BYTES:
            break
        groups = [
            (
                _name(result, *head),
                [
                    Panel(model, _pack(patterns.get((number, model, *head)), len(tokens)))
                    for model in ("recipient", "donor")
                ],
            )
            for head in heads
        ]
        first = len(tokens) - len(shown)
        names = [f"query {first + place} ({token})" for place, token in enumerate(shown)]
        views.append(MapsView(names, shown, len(shown), [*range(1, len(shown) + 1)], groups, keys=shown))
        text, target = texts.get(number, ("", ""))
        labels.append(f"{number}: {shorten_prompt(text, 56)} → {show_token(target)}")
    cropped = any(len(tokens) > _MOST_TOKENS for tokens in tokens_of.values())
    caption = (
        f"Attention of the heads that were chosen, at step {spec.recipient:,} (recipient) and {spec.donor:,} (donor). "
        "Each line is a query and each column a key; the target is predicted at the last line. Beside each head's name "
        "is what its pattern alone changes in the recipient."
    )
    omitted = _describe_omissions((len(heads), len(kept)), (len(views), len(numbers)), cropped)
    return Maps("attention", "", f"{caption} {omitted}".strip(), "prompt", views), labels


def _name(result: PatchResult, layer: int, head: int) -> str:
    effect = result.find_effect("patch", layer, head)
    return name_head(layer, head) + (f": alone {format_change(effect)}" if effect else "")


def _describe_omissions(heads: tuple[int, int], prompts: tuple[int, int], cropped: bool) -> str:
    """What was left out to keep the page small, as a sentence; each is how many are shown, of how many."""
    omitted = [
        f"{shown} of {there} {what}"
        for what, (shown, there) in (("heads", heads), ("prompts", prompts))
        if shown < there
    ]
    if cropped:
        omitted.append(f"the last {_MOST_TOKENS} tokens of longer prompts, so a line may miss attention further back")
    return f"To keep the page small it holds {'; '.join(omitted)}." if omitted else ""


def _pack(pattern: list[float] | None, tokens: int) -> str:
    if pattern is None:
        return ""
    weights = np.array(pattern, dtype=np.float32).reshape(tokens, tokens)
    return pack_weights(weights[-_MOST_TOKENS:, -_MOST_TOKENS:])
