"""Colours that a reader without full colour vision can tell apart, for light and for dark pages.

A trace carries both variants as `meta = {"light": ..., "dark": ...}`; the page puts in the one that fits its theme.
"""

from typing import Any

import numpy as np

LINES = (
    ("#0072B2", "#3d9ad6"),
    ("#D55E00", "#ec7d2e"),
    ("#009E73", "#2dbd92"),
    ("#CC79A7", "#CC79A7"),
    ("#E69F00", "#E69F00"),
    ("#56B4E9", "#8fd0f5"),
)
"""Okabe and Ito's, the dark ones lifted for dark pages, less black and yellow, which vanish on one of the two."""
NEUTRAL = ("#6b7280", "#98a2b0")
STRONG = ("#1f2937", "#e5e7eb")
DIVERGING = (
    ("#B34A00", "#E89A5E", "#F3F3F1", "#6BADDA", "#005A96"),
    ("#FFAB66", "#A8622A", "#262C34", "#2F74A3", "#8FD0FF"),
)
"""From loss over nothing to gain, for light and for dark pages; the middle is near the page."""
_RANGES = ((0.0, 0.84), (0.22, 1.0))  # the part of viridis that stands out from a light page and from a dark one
_STOPS = 9
_VIRIDIS = np.array(
    [
        [68, 1, 84],
        [71, 45, 123],
        [59, 82, 139],
        [44, 114, 142],
        [33, 145, 140],
        [40, 174, 128],
        [94, 201, 98],
        [173, 220, 48],
        [253, 231, 37],
    ]
)
"""[stop, channel] nine evenly spaced stops, between which a straight line is close enough."""


def themed(light: str, dark: str, **more: Any) -> dict[str, Any]:
    """The meta entry of a trace with one colour for each theme."""
    return {"light": light, "dark": dark, **more}


def tone(share: float) -> tuple[str, str]:
    """The colour of a share of the way from the earliest step to the latest, for both themes."""
    light, dark = (_sample(low + (high - low) * share) for low, high in _RANGES)
    return light, dark


def colour_scales() -> tuple[list[list[Any]], list[list[Any]]]:
    """The scale that `tone` is taken from, for both themes, as plotly wants it."""
    shares = [stop / (_STOPS - 1) for stop in range(_STOPS)]
    light, dark = ([[share, tone(share)[theme]] for share in shares] for theme in (0, 1))
    return light, dark


def diverging_scales() -> tuple[list[list[Any]], list[list[Any]]]:
    """`DIVERGING` as plotly wants it, for both themes."""
    light, dark = ([[stop / 4, colour] for stop, colour in enumerate(stops)] for stops in DIVERGING)
    return light, dark


def _sample(position: float) -> str:
    stops = np.linspace(0.0, 1.0, len(_VIRIDIS))
    return "#" + "".join(f"{round(float(np.interp(position, stops, channel))):02x}" for channel in _VIRIDIS.T)
