"""What lies under a folder of results, by name: listed once for any number of look-ups."""

from collections import defaultdict
from functools import cached_property
from pathlib import Path


class Listing:
    """The paths under `root`, which need not exist, as they were at the first look-up."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def hashed(self, digits: str) -> list[Path]:
        """Those whose names end with a hash, in the order of their names."""
        return self._by_hash.get(digits, [])

    def named(self, name: str) -> list[Path]:
        """Those whose names are `name` and a hash, in the order of their names."""
        return self._by_name.get(name, [])

    @cached_property
    def _paths(self) -> list[tuple[str, str, Path]]:
        paths = sorted(self._root.iterdir()) if self._root.is_dir() else []
        return [(name, digits, path) for path in paths for name, _, digits in [path.name.rpartition("-")]]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for name, _, path in self._paths:
            found[name].append(path)
        return found

    @cached_property
    def _by_hash(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for _, digits, path in self._paths:
            found[digits].append(path)
        return found
