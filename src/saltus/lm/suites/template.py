"""A model without weights: checkpoints that differ from an earlier one in values alone are read into copies of it.

Building a model and sorting its weights takes the library longer than reading a small one. What it did once need not be
done again where the configuration, the files and all that their headers say are the same. Nothing is taken for granted:
a template is kept only of a model whose every weight was found, bit for bit, to be a tensor of its checkpoint.
"""

import copy
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

_DECIDING = ("config.json", ".index.json")
"""Ends of the names of files that say what a model is, and in which file its weights are."""

_LENGTH = 8
"""Bytes at the beginning of a safetensors file that say how long its header is."""


@dataclass(frozen=True)
class Template:
    """A model that the library has loaded, its weights taken out."""

    layout: str
    """As `describe_layout`: of the checkpoints that may be read into it."""
    model: PreTrainedModel
    device: torch.device
    sources: Mapping[str, Tensor]
    """By name of a tensor in the files, the weight on the device `meta` that stands for it in `model`."""

    def fill(self, folder: Path) -> PreTrainedModel:
        """A model of its own with the weights in `folder`, whose layout has to be this one's."""
        memo: dict[int, Any] = {}
        with ExitStack() as stack:
            read = _open(folder, stack)
            for name, blank in self.sources.items():
                memo[id(blank)] = _like(blank, read[name]().to(self.device, blank.dtype))
        return copy.deepcopy(self.model, memo)


def make_template(model: PreTrainedModel, folder: Path, layout: str) -> Template | None:
    """The template of a model that the library has just loaded from `folder`, and that has not run yet.

    None if any of its weights is not, bit for bit, one tensor of the files under the name that the library gives it:
    where several are made into one, where one is changed on the way, or where weights are quantised.
    """
    conversions = getattr(model, "_weight_conversions", None)  # those that found something to do in these files
    if conversions is None or any(hasattr(conversion, "operations") for conversion in conversions):
        return None
    weights: dict[str, Tensor] = model.state_dict(keep_vars=True)
    if any(type(weight) not in (Tensor, nn.Parameter) for weight in weights.values()):
        return None
    sources: dict[str, Tensor] = {}
    blanks: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for source, read in _open(folder, stack).items():
            name = source
            for conversion in conversions:
                name, _ = conversion.rename_source_key(name)
            weight = weights.get(name, weights.get(source))
            if weight is None:
                continue  # the model has no place for it, which was found to be right
            if id(weight) in blanks or not torch.equal(read().to(weight.device, weight.dtype), weight):
                return None
            sources[source] = blanks[id(weight)] = _like(weight, torch.empty_like(weight, device="meta"))
    if any(id(weight) not in blanks for weight in model.parameters()):
        return None
    return Template(layout, copy.deepcopy(model, dict(blanks)), model.device, sources)


def describe_layout(folder: Path) -> str:
    """All that a model is made from but the values of its weights: configurations, and names, shapes and types."""
    said: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                said[path.name] = file.read(int.from_bytes(file.read(_LENGTH), "little")).hex()
        elif path.name.endswith(_DECIDING):
            said[path.name] = path.read_bytes().hex()
    return json.dumps(said)


def _open(folder: Path, stack: ExitStack) -> dict[str, Callable[[], Tensor]]:
    """By name of a tensor in the files, what reads it; no two of them have one name."""
    read: dict[str, Callable[[], Tensor]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = stack.enter_context(safe_open(path, framework="pt"))
        for name in file.keys():  # noqa: SIM118 - not a mapping: it can only be asked for its keys
            if name in read:
                raise ValueError(f"{name} is in two files of {folder}")
            read[name] = partial(file.get_tensor, name)
    return read


def _like(weight: Tensor, values: Tensor) -> Tensor:
    return nn.Parameter(values, requires_grad=False) if isinstance(weight, nn.Parameter) else values
