"""What a training step costs, by arithmetic on the description alone."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from saltus.specs import RunSpec, TransformerSpec
from saltus.specs.models import BackboneSpec
from saltus.specs.pocket import PocketModelSpec, PocketSpec

COMPILED_FROM = 1e9
"""Operations of a step of one seed from which `compile="auto"` compiles it."""


def count_flops(spec: RunSpec, tokens: int | None = None) -> float:
    """Floating-point operations of the products in one step of one seed, on sequences of so many tokens: the task's.

    Forward, and twice that backward. Of each token: 2 for each weight of the layers' matrices and of the unembedding;
    of each query and key: 2 for each dimension of each head, in the scores and in what they mix. Masked keys count:
    they are multiplied too. A mixer other than attention is counted as if it were attention of the model's width. Of
    Muon the products of its updates are added, which do not depend on the batch.
    """
    model, queries = spec.model, (tokens or spec.task.tokens) - 1
    update = _count_muon(spec) if spec.training.optimizer == "muon" else 0.0
    return spec.batch * _count_sequence(model, _measure_inner(spec), queries, spec.task.vocabulary) + update


def count_pocket_flops(spec: PocketSpec, model: PocketModelSpec) -> float:
    """As `count_flops`, of one size of a pocket suite."""
    return spec.batch * _count_sequence(model, model.d_model, spec.length - 1, spec.corpus.vocabulary)


def _count_sequence(model: BackboneSpec | PocketModelSpec, inner: int, queries: int, vocabulary: int) -> float:
    """Of one sequence, the heads having `inner` dimensions together."""
    layer = 4 * model.d_model * inner + 2 * model.d_model * model.mlp_width + 2 * queries * inner
    token = 2 * (model.layers * layer + model.d_model * vocabulary)
    return 3.0 * queries * token


def _measure_inner(spec: RunSpec) -> int:
    """All heads' dimensions together."""
    model = spec.model
    return model.heads * model.head_dimension if isinstance(model, TransformerSpec) else model.d_model


def _count_muon(spec: RunSpec) -> float:
    """Five Newton-Schulz iterations for each matrix of a block (Jordan, Muon), each of three products.

    Of a matrix of m rows and n columns, m being the smaller: X X', its square, and a matrix of m by m times X.
    """
    width, inner, mlp = spec.model.d_model, _measure_inner(spec), spec.model.mlp_width
    shapes = (sorted(shape) for shape in ((3 * inner, width), (width, inner), (mlp, width), (width, mlp)))
    return spec.model.layers * sum(5.0 * (4 * m * m * n + 2 * m**3) for m, n in shapes)


class Spent(NamedTuple):
    """What the steps of one seed have cost since the start."""

    tokens: float
    """That it was trained on."""
    operations: float
    """As of `count_flops`."""


def count_spent(spec: RunSpec, steps: float, starts: Sequence[int] | None = None) -> Spent:
    """What so many steps cost, each phase of a curriculum by the length of its own sequences.

    `starts` are the steps at which the phases that were reached, and after them the task itself, began; without them
    every phase takes all its steps.
    """
    if starts is None:
        starts = list(accumulate((phase.steps for phase in spec.curriculum), initial=0))
    lengths = [*(phase.count_tokens(spec.task) for phase in spec.curriculum), spec.task.tokens]
    tokens = operations = 0.0
    for start, end, length in zip(starts, [*starts[1:], steps], lengths, strict=False):
        taken = max(0.0, min(end, steps) - start)
        tokens += taken * spec.batch * length
        operations += taken * count_flops(spec, length)
    return Spent(tokens, operations)


def is_compiled(spec: RunSpec) -> bool:
    """Whether the training step is compiled.

    'auto' looks at nothing but the work of one step of one seed: a compiled step rounds differently, and a run must not
    change with its number of steps or seeds, of which it can be given more.
    """
    asked = spec.training.compile
    return count_flops(spec) >= COMPILED_FROM if asked == "auto" else bool(asked)
