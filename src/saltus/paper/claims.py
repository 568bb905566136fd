"""The paper's claims about tasks with a known pattern, as its abstract and figures state them, in its order.

Those about language models (that seeds solve a task early, late or never; that patching a pattern brings the gain) need
checkpoints of Pythia; `saltus scan` and `saltus patch` ask for them.
"""

ON_JUMPS = "The loss falls in abrupt steps, each a part of the pattern, and the entropy of heads falls with it."
ON_BIAS = "Biasing attention toward the true pattern erases the plateau."
ON_SEARCH = "Difficulty follows the size of the search: medium sparsity and long contexts are hardest."
ON_HEADS = "More heads beat bigger heads; on cellular automata a head can be too small."
ON_EXAMPLES = "More worked examples in the context do not make it easier."
ON_MIXERS = "MLP-Mixer beats the transformer on the linear map and not on automata; most other mixers do worse than it."
