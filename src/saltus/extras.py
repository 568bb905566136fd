"""Packages that not everybody needs, as in `pip install saltus[train]`; that one is absent is said in one sentence."""

from importlib.util import find_spec
from typing import Literal

from saltus.errors import SaltusError

Extra = Literal["train", "lm", "lm-eval", "pandas", "ray", "slurm"]

EXTRAS: dict[Extra, tuple[str, ...]] = {
    "train": ("torch",),
    "lm": ("torch", "transformers", "tokenizers", "huggingface_hub"),
    "lm-eval": ("lm_eval",),
    "pandas": ("pandas",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}
"""The packages of each, by the names under which they are imported; `pyproject.toml` has their versions."""


def require_extra(extra: Extra, what: str) -> None:
    """Refuse to begin `what`, such as `training`, without the packages of an extra; nothing is imported.

    Raises:
        SaltusError: if one of the packages is not installed.

    """
    if absent := [package for package in EXTRAS[extra] if not _is_installed(package)]:
        are = "is" if len(absent) == 1 else "are"
        raise SaltusError(f"{what} needs {', '.join(absent)}, which {are} not installed: pip install 'saltus[{extra}]'")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # something that stands in the way of imports refused
        return False
