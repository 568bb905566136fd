"""What training costs, by arithmetic on the description alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from saltus.errors import SaltusError
from saltus.specs import DistillationSpec, RunSpec
from saltus.specs.interventions import BaseInterventionSpec
from saltus.specs.pocket import PocketSpec
from saltus.specs.pocket_interventions import PocketDistillationSpec
from saltus.train.flops import Spent, count_flops, count_pocket_flops, count_spent

S = TypeVar("S")


@dataclass(frozen=True)
class Cost:
    """What one seed has used up by a step."""

    steps: float
    tokens: float
    """That it was trained on."""
    operations: float
    """Floating-point operations, as of `count_flops`, with what its interventions add."""
    with_teacher: float
    """Those, and the training of its teacher where it has one."""


def price_run(spec: RunSpec, steps: float, teacher: RunSpec | None = None, spent: Spent | None = None) -> Cost:
    """What so many steps of one seed cost; a teacher's training counts up to the last checkpoint that is learned from.

    A teacher that shows its patterns works through the same share of each batch, forward alone. `spent` is what the
    steps cost where the description alone does not say it, because a phase of a curriculum ends once it is solved.
    """
    taught = teacher and (count_flops(teacher), teacher.batch)
    own = (count_flops(spec), spec.batch)
    return _price(spec.interventions, steps, spent or count_spent(spec, steps), own, taught)


def price_pocket(spec: PocketSpec, steps: float, teacher: PocketSpec | None = None) -> Cost:
    """As `price_run`, of the first size of a pocket suite, and of the size of its teacher that is learned from."""
    each = count_pocket_flops(spec, spec.models[0])
    sizes = (
        {}
        if teacher is None
        else {size.name: (count_pocket_flops(teacher, size), teacher.batch) for size in teacher.models}
    )
    named = [sizes.get(each.size) for each in spec.interventions if isinstance(each, PocketDistillationSpec)]
    spent = Spent(steps * spec.batch * spec.length, steps * each)
    return _price(spec.interventions, steps, spent, (each, spec.batch), named[0] if named else None)


def _price(
    interventions: Sequence[BaseInterventionSpec],
    steps: float,
    spent: Spent,
    own: tuple[float, int],
    taught: tuple[float, int] | None,
) -> Cost:
    """With what interventions add; of a student and of its teacher the operations and the sequences of a step."""
    tokens, operations = spent
    operations += own[0] * sum(each.count_work(steps) for each in interventions)
    with_teacher = operations
    for each in interventions:
        if taught is not None and isinstance(each, DistillationSpec):
            step, sequences = taught
            shown = step / sequences * own[1] * each.count_work(steps) / 3.0
            operations += shown
            with_teacher += shown + step * max(each.checkpoints)
    return Cost(steps, tokens, operations, with_teacher)


def match_operations(runs: Mapping[str, RunSpec]) -> dict[str, RunSpec]:
    """The same runs with as many operations in a step as the first, as nearly as the width of the MLP allows.

    Raises:
        SaltusError: if one has more than that whatever its MLP is, or has no MLP.

    """
    goal = count_flops(next(iter(runs.values())))
    return {name: _match(name, run, goal) for name, run in runs.items()}


def match_pockets(suites: Mapping[str, PocketSpec]) -> dict[str, PocketSpec]:
    """As `match_operations`, of suites of one size each."""

    def widen(suite: PocketSpec, width: int) -> PocketSpec:
        return suite.vary(models=(suite.models[0].model_copy(update={"d_mlp": width}),))

    def count(suite: PocketSpec) -> float:
        return count_pocket_flops(suite, suite.models[0])

    goal = count(next(iter(suites.values())))
    return {name: widen(suite, _find_width(name, suite, goal, widen, count)) for name, suite in suites.items()}


def _match(name: str, run: RunSpec, goal: float) -> RunSpec:
    if not run.model.mlp_width:
        if (own := count_flops(run)) == goal:
            return run
        raise SaltusError(
            f"{name} has no MLP (d_mlp is 0) and {own:.3g} operations in a step, not the {goal:.3g} that it is matched "
            "to; the width of the MLP is what is matched, so give it one, or the first one as many operations"
        )
    return _widen(run, _find_width(name, run, goal, _widen, count_flops))


def _find_width(name: str, spec: S, goal: float, widen: Callable[[S, int], S], count: Callable[[S], float]) -> int:
    """The width of the MLP with as many operations in a step, as nearly as there is one."""
    least, more = (count(widen(spec, width)) for width in (1, 2))
    width = 1 + round((goal - least) / (more - least))  # a unit more costs the same at every width
    if width < 1:
        raise SaltusError(
            f"{name} has {least:.3g} operations in a step with an MLP of one unit, more than the {goal:.3g} that it is "
            "matched to; make it smaller, or the first one larger"
        )
    return width


def _widen(run: RunSpec, width: int) -> RunSpec:
    return run.model_copy(update={"model": run.model.model_copy(update={"d_mlp": width})})
