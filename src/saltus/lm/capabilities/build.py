"""CapabilitySpec -> Capability; and its prompts for one tokenizer."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from saltus.lm.capabilities.base import Capability, Prompt
from saltus.lm.capabilities.tokens import begin
from saltus.seeding import Streams
from saltus.specs.capabilities import BaseCapabilitySpec
from saltus.specs.kinds import find_class


def build_capability(spec: BaseCapabilitySpec) -> Capability:
    """The capability that `spec` describes."""
    return find_class(spec.builds)(spec)


def make_prompts(
    spec: BaseCapabilitySpec, tokenizer: PreTrainedTokenizerBase, master_seed: int, *, bos: bool = False
) -> Sequence[Prompt]:
    """The prompts of one capability, the same for equal specs, tokenizers and master seeds.

    With `bos` the tokenizer's token for the beginning of a text stands before each of them. Raises `SaltusError` where
    the tokenizer cannot express them, or has no such token.
    """
    made = build_capability(spec).prompts(tokenizer, Streams(master_seed).generator("prompts", spec.stream))
    return begin(tokenizer, made) if bos else made
