"""The names of tensors in a checkpoint's files: what of them is a weight, and what they are called without wrappers."""

import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from saltus.lm.suites.base import MissingCheckpoint

_WRAPPERS = re.compile(
    r"^(?:module\.|_forward_module\.)+|(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What DistributedDataParallel, Lightning, torch.compile, FSDP and activation checkpointing put into names."""

_CONSTANTS = ("masked_bias", "inv_freq", "attention.bias", "attn.bias")
"""Ends of the names of buffers that old checkpoints hold besides their weights: masks and frequencies."""


def strip_wrappers(name: str) -> str:
    """The name of a tensor in the model itself.

    >>> strip_wrappers("module._orig_mod.gpt_neox.layers.0._orig_mod.mlp.dense_h_to_4h.weight")
    'gpt_neox.layers.0.mlp.dense_h_to_4h.weight'
    """
    while (bare := _WRAPPERS.sub("", name)) != name:
        name = bare
    return name


def is_constant(name: str) -> bool:
    """Whether a tensor of this name is no weight, unless a model takes it for one."""
    return name.endswith(_CONSTANTS)


def list_names(folder: Path) -> Iterator[str]:
    """The names of all tensors in the safetensors files of a checkpoint.

    Raises:
        MissingCheckpoint: if there are no such files, or one of them cannot be read.

    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise MissingCheckpoint(f"{folder} holds no safetensors weights; other formats are not read")
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                yield from file.keys()
        except (OSError, SafetensorError) as error:
            raise MissingCheckpoint(f"{path} cannot be read ({error})") from None
