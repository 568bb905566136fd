"""What is said of files, counted, so that a thousand of the same make one sentence."""

_SHOWN = 3


class Ledger:
    """Counts what was found, by its words."""

    def __init__(self) -> None:
        self._wrong: dict[tuple[str, str], list[str]] = {}
        self._told: dict[tuple[str, str], list[str]] = {}

    def add(self, one: str, many: str, place: str) -> None:
        """Something is wrong at a place; `one` and `many` follow the number of one such place, and of several."""
        self._wrong.setdefault((one, many), []).append(place)

    def tell(self, one: str, many: str, place: str) -> None:
        """Something was guessed or chosen, and nothing is wrong."""
        self._told.setdefault((one, many), []).append(place)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Such as `2 files cannot be read: a.json (...); b.json (...)`, with the first places; what is wrong first."""
        return tuple(
            f"{len(places):,} {one if len(places) == 1 else many}: {'; '.join(places[:_SHOWN])}"
            + (f"; and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else "")
            for found in (self._wrong, self._told)
            for (one, many), places in found.items()
        )
