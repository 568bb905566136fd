"""Models from a local folder: safetensors alone, no code of the folder is ever run."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from saltus.errors import SaltusError
from saltus.lm.memory import is_out_of_memory
from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.template import Template, describe_layout, make_template
from saltus.lm.suites.weights import is_constant, list_names, strip_wrappers
from saltus.specs.checkpoints import Precision

_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_LARGE = "{} does not fit into memory; take half precision (--precision), a smaller model or a larger machine"
_SHOWN = 3
"""Tensors that are named in a message."""


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model as its checkpoint has it."""

    model: PreTrainedModel
    """In evaluation mode, without gradients."""
    note: str
    """What was mended on the way and does no harm, such as a prefix of all names; empty where nothing was."""


class ModelLoader:
    """Loads one checkpoint after another; what was shown of one and holds for the next is not shown again.

    Each model is one of its own. Those that differ in the values of their weights alone are built once by the library,
    and looked at once whether they are causal.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._dtype, self._device = _DTYPES[precision], device
        self._causal: set[str] = set()  # configurations that are
        self._layout: str | None = None  # of the last checkpoint that the library loaded
        self._builds = 0  # of this layout, one after another
        self._template: Template | None = None

    def load(self, folder: Path) -> LoadedModel:
        """The language model in `folder`; every weight of it is in the files, and every weight in the files is of it.

        Raises:
            MissingCheckpoint: if that is not so, if the files cannot be read, if a weight is not finite, or if a token
                of the model sees later ones.

        """
        names = list(list_names(folder))
        wrapped = {name: bare for name in names if (bare := strip_wrappers(name)) != name}
        layout = _describe_layout(folder)
        model = self._fill(folder, layout) or self._build(folder, layout, wrapped)
        _refuse_infinite(folder, model)
        self._refuse_ahead(folder, model)
        return LoadedModel(model, _describe_wrappers(wrapped))

    def _fill(self, folder: Path, layout: str | None) -> PreTrainedModel | None:
        if self._template is None or self._template.layout != layout:
            return None
        try:
            return self._template.fill(folder)
        except Exception:  # noqa: BLE001 - the library says better what is wrong with the files
            return None

    def _build(self, folder: Path, layout: str | None, wrapped: dict[str, str]) -> PreTrainedModel:
        with _in_silence():
            try:
                loaded: Any = AutoModelForCausalLM.from_pretrained(  # typed as without its last but one argument
                    folder,
                    dtype=self._dtype,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                    key_mapping={f"^{_escape(name)}$": bare for name, bare in wrapped.items()} or None,
                )
            except Exception as error:  # noqa: BLE001 - a foreign folder may break the library in any way
                if is_out_of_memory(error):
                    raise SaltusError(_LARGE.format(folder)) from None
                raise MissingCheckpoint(f"{folder} cannot be loaded as a language model ({_shorten(error)})") from None
        model, info = loaded
        _check_names(folder, info)
        try:
            nn.Module.to(model, self._device)  # the library's own `to` is typed as a call on another class
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise SaltusError(_LARGE.format(folder)) from None
            reason = f"the device {self._device} failed ({_shorten(error)})"
            raise SaltusError(f"{reason}; run the same command again, which goes on") from None
        model.eval().requires_grad_(requires_grad=False)
        self._builds = self._builds + 1 if layout == self._layout else 1
        self._layout = layout
        if layout is not None and self._builds == 2:  # not for a single one, and not again where there is none
            self._template = _try_template(model, folder, layout)
        return model

    def _refuse_ahead(self, folder: Path, model: PreTrainedModel) -> None:
        described = f"{type(model).__name__} {model.config.to_json_string()}"
        if described in self._causal:
            return
        ahead, shown = _look_ahead(model)
        if ahead:
            raise MissingCheckpoint(
                f"{folder} holds a {type(model).__name__} whose tokens see the ones after them; only causal models can "
                "be asked what comes next"
            )
        if shown:
            self._causal.add(described)


def load_model(folder: Path, precision: Precision, device: torch.device) -> LoadedModel:
    """A single model; the rest as in `ModelLoader.load`."""
    return ModelLoader(precision, device).load(folder)


def _describe_layout(folder: Path) -> str | None:
    try:
        return describe_layout(folder)
    except OSError:  # the library says better what cannot be read
        return None


def _try_template(model: PreTrainedModel, folder: Path, layout: str) -> Template | None:
    try:
        return make_template(model, folder, layout)
    except Exception:  # noqa: BLE001 - a foreign model may not be copied in any way; then the library builds each anew
        return None


def _check_names(folder: Path, info: dict[str, Any]) -> None:
    """Refuse what the library would fill with random numbers or leave out."""
    missing = sorted(info["missing_keys"])
    unexpected = sorted(name for name in info["unexpected_keys"] if not is_constant(name))
    if missing:
        raise MissingCheckpoint(f"{folder} lacks {_list_some(missing)}, without which the model is another one")
    if unexpected:
        raise MissingCheckpoint(f"{folder} holds {_list_some(unexpected)}, which its configuration has no place for")


def _refuse_infinite(folder: Path, model: PreTrainedModel) -> None:
    """Attention by fused kernels may make finite numbers of a query that is not, so answers do not show it."""
    sums = ((name, weight.sum(dtype=torch.float32)) for name, weight in model.named_parameters())  # one pass over each
    wrong = [name for name, total in sums if not total.isfinite()]
    if wrong := [name for name in wrong if not model.get_parameter(name).isfinite().all()]:  # a sum may be too large
        raise MissingCheckpoint(f"{folder} has weights that are not finite in {_list_some(wrong)}")


def _look_ahead(model: PreTrainedModel) -> tuple[bool, bool]:
    """Whether what the model makes of the first tokens depends on the last one, and whether that shows anything.

    By the gradient, which is exactly zero where it does not, in any precision. It shows nothing where what is made of
    the last token does not depend on the first ones either: attention with an output of zeros mixes no tokens. What
    lies below the output head is looked at, because a head may be all zeros too.
    """
    embedded: list[Tensor] = []

    def keep(_module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    tokens = torch.zeros((2, 4), dtype=torch.int64, device=model.device)
    handle = model.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            output = model(input_ids=tokens, use_cache=False, output_hidden_states=True)
            states: Tensor = (output.hidden_states[-1] if output.hidden_states else output.logits).float()
            weights = torch.linspace(-1.0, 1.0, states.shape[-1], device=states.device) ** 3
            # The first sequence is judged by all its states but the last, the second by its last state.
            (states[0, :-1].mul(weights).sum() + states[1, -1].mul(weights).sum()).backward()
    except Exception:  # noqa: BLE001 - what cannot be called or differentiated like this is found out when it is asked
        return False, False
    finally:
        handle.remove()
    gradient = embedded[0].grad if embedded else None  # [sequence, token, d]
    if gradient is None or not gradient.isfinite().all():
        return False, False
    return bool(gradient[0, -1].any()), bool(gradient[1, :-1].any())


def _describe_wrappers(wrapped: dict[str, str]) -> str:
    if not wrapped:
        return ""
    name, bare = next(iter(wrapped.items()))
    return f"{len(wrapped)} tensors have names of a wrapper, such as {name}, and were taken for {bare} and so on"


def _list_some(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(list(names)[:_SHOWN])}{more}"


def _escape(name: str) -> str:
    return name.replace(".", r"\.")


def _shorten(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def _in_silence() -> Generator[None, None, None]:
    """Without the library's bars and reports: one of each for every checkpoint would drown the scan's own."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
