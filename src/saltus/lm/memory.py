"""Work in parts that fit into memory."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import torch

from saltus.errors import SaltusError
from saltus.train.memory import is_out_of_memory

T = TypeVar("T")


def run_in_parts(run: Callable[[slice], T], total: int, limit: int) -> list[T]:
    """`run(part)` for consecutive parts of `total` items, at most `limit` in each.

    A part that runs out of memory is halved and run again, and so are all after it. What a single item raises is
    passed on.
    """
    done: list[T] = []
    start = 0
    while start < total:
        size = min(limit, total - start)
        try:
            done.append(run(slice(start, start + size)))
            start += size
            continue
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # outside of the handler, which would keep the tensors of the failed pass alive
        limit = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return done


@contextmanager
def explain_memory() -> Generator[None, None, None]:
    """Turn what is left when a single sequence does not fit into one sentence."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SaltusError(
            "a single sequence does not fit into memory; use shorter prompts, a smaller model or a larger machine"
        ) from None
