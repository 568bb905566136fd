"""What training costs, by arithmetic on the description alone."""

from dataclasses import dataclass

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
