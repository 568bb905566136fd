"""Attention maps before and after, packed for a page: one byte for each weight."""

from base64 import b64encode
from dataclasses import dataclass

import numpy as np

from saltus.report.html.labels import shorten_prompt, show_token
from saltus.report.patch.summary import PatchStudy, format_change, name_head

_MOST_TOKENS = 96  # of a prompt, its last ones
_MOST_HEADS = 8
_MOST_BYTES = 2_250_000  # of one study; a third more once they are text


@dataclass(frozen=True)
class PromptMaps:
    """The maps of one prompt."""

    label: str
    tokens: list[str]
    """[token] its last ones, the query that predicts the target being the last."""
    recipient: list[str]
    """[head] base64 of bytes [query, key]: 255 times the square root of the attention; empty if it was not kept."""
    donor: list[str]
    """[head] the same of the donor."""


@dataclass(frozen=True)
class PackedMaps:
    """What is drawn of the attention of the chosen heads."""

    heads: list[str]
    """[head] names with their effects."""
    prompts: list[PromptMaps]
    cropped: bool
    """Whether any prompt has more tokens than are shown."""
    all_heads: int
    all_prompts: int


def pack_maps(study: PatchStudy) -> PackedMaps | None:
    """The kept patterns, small enough for a page; None if none were kept."""
    rows = study.records.patterns.to_pylist()
    kept = list(dict.fromkeys((row["layer"], row["head"]) for row in rows))
    numbers = list(dict.fromkeys(row["prompt"] for row in rows))
    if not kept:
        return None
    heads, prompts, spent = kept[:_MOST_HEADS], list[PromptMaps](), 0
    texts = {row["prompt"]: (row["text"], row["target"]) for row in study.records.prompts.to_pylist()}
    cropped = False
    for number in numbers:
        of_prompt = {(row["model"], row["layer"], row["head"]): row for row in rows if row["prompt"] == number}
        tokens = next(iter(of_prompt.values()))["tokens"]
        spent += 2 * len(heads) * min(len(tokens), _MOST_TOKENS) ** 2
        if prompts and spent > _MOST_BYTES:
            break
        cropped = cropped or len(tokens) > _MOST_TOKENS
        packed = {
            model: [
                _pack(row["pattern"], len(tokens)) if (row := of_prompt.get((model, *head))) else "" for head in heads
            ]
            for model in ("recipient", "donor")
        }
        text, target = texts.get(number, ("", ""))
        label = f"{number}: {shorten_prompt(text, 56)} → {show_token(target)}"
        prompts.append(PromptMaps(label, [show_token(token) for token in tokens[-_MOST_TOKENS:]], **packed))
    names: list[str] = []
    for layer, head in heads:
        effect = study.find_effect("patch", layer, head)
        names.append(f"{name_head(layer, head)}: alone {format_change(effect)}" if effect else name_head(layer, head))
    return PackedMaps(names, prompts, cropped, len(kept), len(numbers))


def describe_omissions(maps: PackedMaps) -> str:
    """What was left out to keep the page small, as a sentence; empty if nothing was."""
    omitted: list[str] = []
    if len(maps.heads) < maps.all_heads:
        omitted.append(f"{len(maps.heads)} of {maps.all_heads} heads")
    if len(maps.prompts) < maps.all_prompts:
        omitted.append(f"{len(maps.prompts)} of {maps.all_prompts} prompts")
    if maps.cropped:
        omitted.append(f"the last {_MOST_TOKENS} tokens of longer prompts, so a line may miss attention further back")
    return f"To keep the page small it holds {'; '.join(omitted)}." if omitted else ""


def _pack(pattern: list[float], tokens: int) -> str:
    weights = np.array(pattern, dtype=np.float32).reshape(tokens, tokens)[-_MOST_TOKENS:, -_MOST_TOKENS:]
    values = np.sqrt(np.clip(np.nan_to_num(weights), 0.0, 1.0)) * 255.0
    return b64encode(values.round().astype(np.uint8).tobytes()).decode("ascii")
