"""Emergences on the second axis of language models, the tokens that a run had seen, where its suite says them."""

from saltus.curves import Emergence
from saltus.lm.scanning.records import ScanRecords

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def find_tokens(records: ScanRecords, emergence: Emergence) -> tuple[int | None, int | None]:
    """Tokens seen at the last step without and at the first step with; None where there is none, or it is not known."""
    size, seed, _ = emergence.key
    by = None if emergence.by is None else records.tokens.get((size, seed, emergence.by))
    return records.tokens.get((size, seed, emergence.after)), by


def format_tokens(records: ScanRecords, emergence: Emergence) -> str:
    """Such as `(4.19M, 8.39M]`, or `> 300B` where it is censored; empty where an end is not known."""
    before, there = find_tokens(records, emergence)
    if emergence.by is None:
        return "" if before is None else f"> {_shorten(before)}"
    if there is None or (before is None and emergence.after >= 0):
        return ""
    return f"at {_shorten(there)}" if before is None else f"({_shorten(before)}, {_shorten(there)}]"


def _shorten(tokens: int) -> str:
    """A number of tokens with three digits, such as `4.19M`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if tokens >= size), (1, ""))
    return f"{tokens / size:.3g}{unit}"
