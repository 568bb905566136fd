"""What a training step costs, by arithmetic on the description alone."""

from saltus.specs import RunSpec, TransformerSpec

COMPILED_FROM = 1e9
"""Operations of a step of one seed from which `compile="auto"` compiles it."""


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


def is_compiled(spec: RunSpec) -> bool:
    """Whether the training step is compiled.

    'auto' looks at nothing but the work of one step of one seed: a compiled step rounds differently, and a run must not
    change with its number of steps or seeds, of which it can be given more.
    """
    asked = spec.training.compile
    return count_flops(spec) >= COMPILED_FROM if asked == "auto" else bool(asked)
