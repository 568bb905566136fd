"""CapabilitySpec -> Capability, an explicit table; and its prompts for one tokenizer."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from saltus.lm.capabilities.base import Capability, Prompt
from saltus.lm.capabilities.copying import Copying
from saltus.lm.capabilities.indirect_object import IndirectObject
from saltus.lm.capabilities.numbered_list import NumberedList
from saltus.lm.capabilities.prompt_file import PromptFile
from saltus.lm.capabilities.repetition import Repetition
from saltus.seeding import Streams
from saltus.specs.capabilities import (
    CapabilitySpec,
    CopyingSpec,
    IndirectObjectSpec,
    NumberedListSpec,
    PromptFileSpec,
    RepetitionSpec,
)

_STREAM_NUMBERS = {"copying": 0, "repetition": 1, "numbered_list": 2, "indirect_object": 3, "prompt_file": 4}
"""Never to be changed: they decide which prompts are drawn."""


def build_capability(spec: CapabilitySpec) -> Capability:
    """The capability that `spec` describes."""
    match spec:
        case CopyingSpec():
            return Copying(spec)
        case RepetitionSpec():
            return Repetition(spec)
        case NumberedListSpec():
            return NumberedList(spec)
        case IndirectObjectSpec():
            return IndirectObject(spec)
        case PromptFileSpec():
            return PromptFile(spec)


def make_prompts(spec: CapabilitySpec, tokenizer: PreTrainedTokenizerBase, master_seed: int) -> Sequence[Prompt]:
    """The prompts of one capability, the same for equal specs, tokenizers and master seeds.

    Raises `SaltusError` where the tokenizer cannot express them.
    """
    generator = Streams(master_seed).generator("prompts", _STREAM_NUMBERS[spec.kind])
    return build_capability(spec).prompts(tokenizer, generator)
