"""The paper's claims, as its abstract and figures state them: those about tasks with a known pattern in its order.

Those about language models are looked at on models that are trained here; the paper's own need checkpoints of Pythia,
for which `saltus scan` and `saltus patch` ask.
"""

ON_JUMPS = "The loss falls in abrupt steps, each a part of the pattern, and the entropy of heads falls with it."
ON_BIAS = "Biasing attention toward the true pattern erases the plateau."
ON_SEARCH = "Difficulty follows the size of the search: medium sparsity and long contexts are hardest."
ON_HEADS = "More heads beat bigger heads; on cellular automata a head can be too small."
ON_EXAMPLES = "More worked examples in the context do not make it easier."
ON_MIXERS = "MLP-Mixer beats the transformer on the linear map and not on automata; most other mixers do worse than it."
ON_MODELS = (
    "Language models that differ in the seed alone gain a skill at very different steps or never, each abruptly and by "
    "a pattern of attention."
)
