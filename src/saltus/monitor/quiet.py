"""A look at a model in training that leaves no trace: modes, buffers, random states, casts and compiled code."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor, nn
from transformers import PreTrainedModel

from saltus.errors import SaltusError

_SPREAD = ("FullyShardedDataParallel", "FSDPModule", "DTensor")
"""Classes of modules and of weights of which one process has a part."""


def is_first_rank() -> bool:
    """Whether this process is the one of its group that watches; alone it is."""
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside of `torch.compile` and of DistributedDataParallel, which share its weights."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def find_language_model(model: nn.Module) -> PreTrainedModel:
    """The one model of transformers that `model` is, or has inside.

    Raises:
        SaltusError: if there is none, or more than one.

    """
    outer: list[PreTrainedModel] = []
    waiting, seen = [model], set[int]()
    while waiting:
        module = waiting.pop()
        if id(module) in seen:  # a wrapper and what it wraps may both hold it
            continue
        seen.add(id(module))
        if isinstance(module, PreTrainedModel):
            outer.append(module)
        else:
            waiting += module.children()
    if len(outer) != 1:
        raise SaltusError(
            f"{type(model).__name__} holds {len(outer)} models of transformers, and one can be watched as it is; give "
            "the monitor two functions of the model and the tokens, logits and attention"
        )
    return outer[0]


def require_whole(model: nn.Module) -> None:
    """Refuse a model whose weights are spread over processes: one of them alone cannot run it."""
    weights = [*model.parameters(), *model.buffers()]
    spread = {cls.__name__ for each in (*model.modules(), *weights) for cls in type(each).__mro__}.intersection(_SPREAD)
    if any(hasattr(weight, "ds_id") for weight in weights):
        spread.add("DeepSpeed ZeRO-3")
    if spread:
        raise SaltusError(
            f"the weights are spread over processes ({', '.join(sorted(spread))}), and one process alone cannot run "
            "the model; watch a training with DistributedDataParallel, or scan its checkpoints"
        )


@contextmanager
def undisturbed(model: nn.Module) -> Generator[None, None, None]:
    """Within, dropout is off, nothing is recorded for gradients, cast or compiled; afterwards all is as it was.

    Modes are set module by module, since an `eval` or `train` of the user's may do more than that. What a forward pass
    does to buffers (counters, running means, positions that were worked out anew) is undone as well.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, _keep_buffers(module)) for module, _ in modes]
    places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    cuda = [place for place in places if place.type == "cuda"]
    kinds = {place.type for place in places} or {"cpu"}
    python, array = random.getstate(), np.random.get_state()
    try:
        with (
            torch.random.fork_rng(devices=cuda),
            torch.no_grad(),
            _without_casts(sorted(kinds)),
            torch.compiler.set_stance("force_eager"),
        ):
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, kept in buffers:
                _put_back(module, kept)
        random.setstate(python)
        np.random.set_state(array)


@contextmanager
def _without_casts(kinds: list[str]) -> Generator[None, None, None]:
    """Without autocast on these kinds of device.

    Weights that something inside casts without gradients would be taken from the cache by the training: emptied.
    """
    if not kinds:
        try:
            yield
        finally:
            torch.clear_autocast_cache()
        return
    with torch.autocast(kinds[0], enabled=False), _without_casts(kinds[1:]):
        yield


Kept = dict[str, tuple[Tensor | None, Tensor | None]]
"""By name, a buffer and a copy of it; None where it is not there yet."""


def _keep_buffers(module: nn.Module) -> Kept:
    """Those of the module itself, also those that are None until the first pass, which `named_buffers` leaves out."""
    return {name: (buffer, None if buffer is None else buffer.clone()) for name, buffer in _buffers_of(module).items()}


def _put_back(module: nn.Module, kept: Kept) -> None:
    own = _buffers_of(module)
    for name in own.keys() - kept.keys():  # registered in the pass
        delattr(module, name)
    for name, (buffer, before) in kept.items():
        if buffer is not None and before is not None and not torch.equal(buffer, before):
            buffer.copy_(before)
        own[name] = buffer


def _buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    return vars(module)["_buffers"]
