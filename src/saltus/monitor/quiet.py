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

_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


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
    waiting = [model]
    while waiting:
        module = waiting.pop()
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
    spread = {cls.__name__ for module in model.modules() for cls in type(module).__mro__}.intersection(_SHARDED)
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
    buffers = [
        (module, name, buffer, buffer.clone())
        for module, _ in modes
        for name, buffer in module.named_buffers(recurse=False)
    ]
    places = {tensor.device for tensor in (*model.parameters(), *(buffer for _, _, buffer, _ in buffers))}
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
            for module, name, buffer, before in buffers:
                _put_back(module, name, buffer, before)
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


def _put_back(module: nn.Module, name: str, buffer: Tensor, before: Tensor) -> None:
    if not torch.equal(buffer, before):
        buffer.copy_(before)
    if getattr(module, name) is not buffer:
        setattr(module, name, buffer)
