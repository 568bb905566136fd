"""Which runs go out together as one job."""

from collections.abc import Callable, Sequence

from saltus.specs import RunSpec

WORTH = 600.0
"""Seconds of work that are worth a job: starting one takes some ten."""

SHARES = 4
"""Jobs that each slot gets at least, so that none waits long for the last."""

Choose = Callable[[Sequence[RunSpec], Sequence[int]], int]
"""How many of the first runs, of so many seeds each, fill a device: `saltus.engines.local.Machine.choose`."""


def list_waves(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Runs in the order in which they can be sent: each after those that it needs."""
    waves: list[list[RunSpec]] = []
    waiting = list(specs)
    while waiting:
        names = {spec.run_id for spec in waiting}
        # Runs that need each other are sent together, and fail with a sentence.
        waves.append([spec for spec in waiting if names.isdisjoint(spec.needs)] or waiting)
        waiting = [spec for spec in waiting if spec not in waves[-1]]
    return waves


def pack(
    specs: Sequence[RunSpec], choose: Choose, seconds: Callable[[RunSpec], float], slots: int | None = None
) -> list[list[RunSpec]]:
    """Runs that do not need each other, as jobs: of one shape, in their order.

    A job takes as many runs as fill its device, and goes on to take as many until their work is worth a start: `WORTH`
    of `seconds`, or less where that would leave some of the `slots` with less than `SHARES` jobs. A run is never split,
    because its folder has one writer. With one slot everything is one job, of all shapes.
    """
    if slots == 1:
        return [list(specs)] if specs else []
    worth = WORTH if slots is None else min(WORTH, sum(map(seconds, specs)) / (slots * SHARES))
    shapes: dict[str, list[RunSpec]] = {}
    for spec in specs:
        shapes.setdefault(spec.shape, []).append(spec)
    jobs: list[list[RunSpec]] = []
    for waiting in shapes.values():
        job: list[RunSpec] = []
        while waiting:
            fill = choose(waiting, [spec.seeds for spec in waiting])
            job, waiting = [*job, *waiting[:fill]], waiting[fill:]
            if not waiting or sum(map(seconds, job)) >= worth:
                jobs.append(job)
                job = []
    return jobs
