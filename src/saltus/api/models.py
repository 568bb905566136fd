"""Trained models of a run: load one."""

from typing import TYPE_CHECKING

from saltus.api.folders import AnyPath, find
from saltus.errors import SaltusError
from saltus.train.folder import RunFolder

if TYPE_CHECKING:
    from saltus.models.decoder import Decoder

# Modules that load torch are imported late: listing and reporting must not wait for it.


def load_model(folder: RunFolder | AnyPath, step: int, seed: int, *, own_code: bool = False) -> "Decoder":
    """The model of one seed at a checkpoint: a plain `torch.nn.Module` on the CPU, in evaluation mode.

    From tokens [sequence, query], integers, to float32 logits of the next token [sequence, query, symbol]. An
    intervention is no part of it: what a run adds to attention logits is the second argument, `bias`. A run of an own
    mixer keeps its code, which is executed only with `own_code`.

    Raises:
        SaltusError: if the folder is no run, the step has no checkpoint, or the run no such seed.

    """
    from saltus.train.trained import check_code, load_model

    run = open_run(folder)
    check_code(run.spec(), own_code=own_code)
    return load_model(run, step, seed)


def open_run(folder: RunFolder | AnyPath) -> RunFolder:
    """A run by its path, or as it is."""
    if isinstance(folder, RunFolder):
        return folder
    found = find(str(folder))
    if not isinstance(found, RunFolder):
        raise SaltusError(f"{found.path} is no run but of the kind {found.kind!r}; give the folder of a run")
    return found
