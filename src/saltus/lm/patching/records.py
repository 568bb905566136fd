"""What a patch recorded. Probabilities are of the whole target."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from saltus.specs.checkpoints import PatchSpec

LATER = {"prompts": ("recipient_difference", "donor_difference"), "effects": ("difference",)}
"""By table, columns that former versions did not write."""

PATCH_TABLES: dict[str, pa.Schema] = {
    # One row for each prompt.
    "prompts": pa.schema(
        [
            ("prompt", pa.int32()),
            ("text", pa.string()),
            ("target", pa.string()),
            ("recipient", pa.float64()),  # probability of the target, unpatched
            ("donor", pa.float64()),
            # logit of the target less that of its best foil, in nats, unpatched; null without foils of one token, and
            # where a former version wrote the table
            ("recipient_difference", pa.float64()),
            ("donor_difference", pa.float64()),
        ]
    ),
    # One row for each patched head and prompt. `kind` is 'patch' (donor's pattern into the recipient), 'reverse'
    # (recipient's into the donor), 'self' (the recipient's own), 'shuffled' (the donor's with its keys permuted), or an
    # ablation of the donor: 'zero', 'mean', 'resample', 'uniform'. That of 'self' differs from the unpatched one by no
    # more than rounding: how much that is in the precision of the patch is what it tells.
    "effects": pa.schema(
        [
            ("kind", pa.string()),
            ("layer", pa.int32()),
            ("head", pa.int32()),
            ("prompt", pa.int32()),
            ("probability", pa.float64()),  # NaN for 'mean', 'resample' where no other prompt has the length
            ("difference", pa.float64()),  # of logits, as in the table of prompts
        ]
    ),
    # One row for each set of heads and prompt: the greedy sets of 1, 2, ... heads ('greedy'), as many random heads
    # ('random', several draws), all heads ('all'), the first-order ranking ('screen').
    "sets": pa.schema(
        [
            ("kind", pa.string()),
            ("draw", pa.int32()),
            ("heads", pa.list_(pa.list_(pa.int32()))),  # [layer, head] in the order in which they were chosen
            ("prompt", pa.int32()),
            ("probability", pa.float64()),
        ]
    ),
    # One row for each head and prompt: the first-order estimate of the effect.
    "screen": pa.schema(
        [("layer", pa.int32()), ("head", pa.int32()), ("prompt", pa.int32()), ("effect", pa.float64())]
    ),
    # One row for each measured neighbour of the jump: target probability around it.
    "trajectory": pa.schema([("step", pa.int32()), ("prompt", pa.int32()), ("probability", pa.float64())]),
    # One row for each pattern that is kept (the chosen heads, on the first prompts): before, after.
    "patterns": pa.schema(
        [
            ("model", pa.string()),  # 'recipient' or 'donor'
            ("layer", pa.int32()),
            ("head", pa.int32()),
            ("prompt", pa.int32()),
            ("tokens", pa.list_(pa.string())),
            ("pattern", pa.list_(pa.float32())),  # [query, key], flat
        ]
    ),
}


@dataclass(frozen=True)
class PatchRecords:
    """Everything that a patch recorded."""

    path: Path
    spec: PatchSpec
    prompts: pa.Table
    effects: pa.Table
    sets: pa.Table
    screen: pa.Table
    trajectory: pa.Table
    patterns: pa.Table
