"""Names, prompts and tokens as a person can read them. They are anybody's text, and plotly reads some HTML in it."""

from collections.abc import Sequence
from html import escape


def shorten(text: str, width: int = 28) -> str:
    """On one line, with what cannot be seen made visible; of a long text its beginning."""
    shown = show(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def shorten_prompt(text: str, width: int = 64) -> str:
    """As `shorten`, but of a long text its end: there the question is."""
    shown = show(text)
    return shown if len(shown) <= width else f"…{shown[1 - width :]}"


def show(text: str) -> str:
    """Line breaks as ⏎, other signs that print nothing as ·"""
    return "".join(sign if sign.isprintable() else "⏎" if sign == "\n" else "·" for sign in text)


def show_token(token: str, width: int = 12) -> str:
    """A token, with a space at its beginning or end as ␣"""
    inner = token.strip(" ")
    start = len(token) - len(token.lstrip(" ")) if inner else len(token)
    end = len(token) - start - len(inner)
    return shorten("␣" * start + inner + "␣" * end, width)


def protect(text: str) -> str:
    """For plotly's labels."""
    return escape(text, quote=False)


def name_seed(seed: str) -> str:
    """Such as `seed 3`; not escaped."""
    return f"seed {shorten(seed, 16)}"


def plural(count: int, noun: str) -> str:
    """Such as `1 seed`, `2 seeds` or `3 capabilities`."""
    many = f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def join(names: Sequence[str], most: int = 4) -> str:
    """Such as `a, b and c`; of many the first, and how many more there are."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def say_length(steps: float) -> str:
    """A number of steps, which may be one of epochs or of billions of tokens.

    >>> say_length(4000.0), say_length(8.75)
    ('4,000', '8.75')
    """
    return f"{steps:,.0f}" if steps >= 100 or steps == int(steps) else f"{steps:.3g}"
