"""The rows of the table of probes by run and question, found by bisection: there may be a hundred thousand prompts."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class ProbeRows:
    """All rows of the table of probes."""

    def __init__(self, probes: pa.Table, prompts: pa.Table) -> None:
        self._sizes, self._seeds, asked = (
            probes[name].to_numpy(zero_copy_only=False) for name in ("size", "seed", "capability")
        )
        self._steps, self._prompt = (probes[name].to_numpy().astype(np.int64) for name in ("step", "prompt"))
        rows = prompts.select(["capability", "prompt", "category"]).to_pylist()
        names = list(dict.fromkeys(row["capability"] for row in rows))
        self._number = {name: number for number, name in enumerate(names)}
        self._capability = np.full(len(asked), -1)
        for name, number in self._number.items():
            self._capability[asked == name] = number
        self._members: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            if row["category"]:
                self._members.setdefault((row["capability"], row["category"]), []).append(row["prompt"])

    def select_run(self, size: str, seed: str) -> "RunRows":
        """The rows of one run."""
        own = np.flatnonzero((self._sizes == size) & (self._seeds == seed))
        own = own[np.lexsort((self._steps[own], self._prompt[own], self._capability[own]))]
        return RunRows(own, self._capability[own], self._prompt[own], self._number, self._members)


class RunRows:
    """The rows of one run, by capability, prompt and step."""

    def __init__(
        self,
        own: NDArray[np.int64],
        capability: NDArray[np.int64],
        prompt: NDArray[np.int64],
        number: dict[str, int],
        members: dict[tuple[str, str], list[int]],
    ) -> None:
        self._own, self._capability, self._prompt = own, capability, prompt  # [row]
        self._number, self._members = number, members

    def __len__(self) -> int:
        return len(self._own)

    def find(self, capability: str, prompt: int | None, category: str | None) -> NDArray[Any]:
        """The rows of one prompt; of a category where there is no prompt; of the capability where there is neither."""
        of_capability = _bracket(self._capability, self._number[capability])
        own, prompts = self._own[of_capability], self._prompt[of_capability]
        if prompt is not None:
            return own[_bracket(prompts, prompt)]
        return own if category is None else own[np.isin(prompts, self._members[capability, category])]


def _bracket(values: NDArray[np.int64], value: int) -> slice:
    """Where `value` is in increasing values."""
    return slice(*np.searchsorted(values, [value, value + 1]).tolist())
