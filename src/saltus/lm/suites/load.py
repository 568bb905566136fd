"""Models and tokenizers from a local folder: safetensors alone, no code of the folder is ever run."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint
from saltus.specs.checkpoints import Precision

_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_model(folder: Path, precision: Precision, device: torch.device) -> PreTrainedModel:
    """The language model in `folder`, in evaluation mode, without gradients."""
    if not list(folder.glob("*.safetensors")):
        raise MissingCheckpoint(f"{folder} holds no safetensors weights; other formats are not read")
    bars = is_progress_bar_enabled()
    disable_progress_bar()  # one for each checkpoint would drown the scan's own
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=_DTYPES[precision], local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # noqa: BLE001 - a foreign folder may break the library in any way
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise MissingCheckpoint(f"{folder} cannot be loaded as a language model ({text})") from None
    finally:
        if bars:
            enable_progress_bar()
    nn.Module.to(model, device)  # the library's own `to` is typed as a call on another class
    return model.eval().requires_grad_(requires_grad=False)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - as above
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise SaltusError(f"{folder} holds no tokenizer that can be loaded ({text}); put its files there") from None
