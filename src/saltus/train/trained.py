"""A seed as it was at a checkpoint, as a module."""

import torch

from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.specs import RunSpec
from saltus.train.folder import RunFolder


def load_model(folder: RunFolder, step: int, seed: int) -> Decoder:
    """The model of one seed at a checkpoint, on the CPU and in evaluation mode.

    An own mixer is code that is executed: see `check_code`.

    Raises:
        SaltusError: if the step has no checkpoint, the run no such seed, or the weights are of another model.

    """
    weights = {name: torch.from_numpy(values) for name, values in folder.weights(step, seed).items()}
    model = build_model(folder.spec().model, folder.facts(), init_seed=0)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise SaltusError(
            f"{folder.path}: the weights of seed {seed} at step {step} are not those of the model in spec.json "
            f"({' '.join(str(error).split())}); one of the two was changed, so bring it back"
        ) from None
    return model.eval()


def check_code(spec: RunSpec, *, own_code: bool, parts: tuple[str, ...] = ("model",)) -> None:
    """Refuse to build what is somebody's own code unless its execution is allowed.

    `parts` are the parts of the description that are built.

    Raises:
        SaltusError: which names the part.

    """
    for part in parts:
        described = getattr(spec, part)
        if described.kind == "custom" and not own_code:
            raise SaltusError(
                f"{part}: {described.name} is code that the run keeps, and would be executed; give own_code=True "
                "(--own-code) if you wrote it or have read it"
            )
