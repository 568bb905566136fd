"""What training costs, by arithmetic on the description alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from saltus.errors import SaltusError
from saltus.specs import RunSpec, TransformerSpec


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


def price_run(spec: RunSpec, steps: float) -> Cost:
    """What so many steps of one seed cost."""
    operations = count_flops(spec) * steps
    return Cost(steps, steps * spec.batch * spec.task.tokens, operations, operations)


def count_flops(spec: RunSpec) -> float:
    """Floating-point operations of the products in one step of one seed.

    Forward, and twice that backward. Of each token: 2 for each weight of the layers' matrices and of the unembedding;
    of each query and key: 2 for each dimension of each head, in the scores and in what they mix. Masked keys count:
    they are multiplied too. A mixer other than attention is counted as if it were attention of the model's width.
    """
    model, queries = spec.model, spec.task.tokens - 1
    inner = model.heads * model.head_dimension if isinstance(model, TransformerSpec) else model.d_model
    layer = 4 * model.d_model * inner + 2 * model.d_model * model.mlp_width + 2 * queries * inner
    token = 2 * (model.layers * layer + model.d_model * spec.task.vocabulary)
    return 3.0 * spec.batch * queries * token


def match_operations(runs: Mapping[str, RunSpec]) -> dict[str, RunSpec]:
    """The same runs with as many operations in a step as the first, as nearly as the width of the MLP allows.

    Raises:
        SaltusError: if one has more than that whatever its MLP is.

    """
    goal = count_flops(next(iter(runs.values())))
    return {name: _match(name, run, goal) for name, run in runs.items()}


def _match(name: str, run: RunSpec, goal: float) -> RunSpec:
    narrow, wider = (_widen(run, width) for width in (1, 2))
    least = count_flops(narrow)
    width = 1 + round((goal - least) / (count_flops(wider) - least))  # a unit more costs the same at every width
    if width < 1:
        raise SaltusError(
            f"{name} has {least:.3g} operations in a step with an MLP of one unit, more than the {goal:.3g} that it is "
            "matched to; make it smaller, or the first one larger"
        )
    return _widen(run, width)


def _widen(run: RunSpec, width: int) -> RunSpec:
    return run.model_copy(update={"model": run.model.model_copy(update={"d_mlp": width})})
