"""What a notebook shows of folders, curves, emergences and comparisons, and the frames that it takes from them."""

from base64 import b64encode
from io import StringIO
from math import isfinite

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from rich.console import Console

from saltus.api.folders import Folder, FolderWithoutCurves, describe, show
from saltus.curves import Curves, Emergences
from saltus.errors import SaltusError
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.patching.folder import PatchFolder
from saltus.measure.comparison import ArmComparison
from saltus.report.terminal.curves import summarise_curves
from saltus.report.terminal.notebook import WIDTH
from saltus.report.terminal.tables import tabulate_comparison

Showable = Folder | Curves | Emergences | ArmComparison

_KEY = [("group", "string"), ("seed", "string"), ("unit", "string")]
EMERGENCES = pa.schema([*_KEY, *((name, "int64") for name in ("after", "by", "lost", "diverged"))])
"""A row for each emergence, as in `saltus.Emergence`; steps, null where there is none."""
VALUES = pa.schema(
    [*_KEY, ("step", "int64"), *((name, "float64") for name in ("value", "standard_error", "chance", "ceiling"))]
)
"""A row for each value of each curve, as in `saltus.Curve`; NaN where something is not known."""


def render(shown: Showable) -> str:
    """HTML: what `saltus show` prints, and the main figure; what cannot be read is said. All text is escaped."""
    console = Console(file=StringIO(), record=True, width=WIDTH, force_terminal=True, force_jupyter=False)
    try:
        _print(shown, console)
        figure = _draw(shown)
    except SaltusError as error:
        return Markup("<p>{}</p>").format(str(error))
    table = console.export_html(inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>')
    image = Markup('<img alt="when it emerged" src="data:image/png;base64,{}">').format(figure) if figure else ""
    return f"<div>{table}{image}</div>"


def tabulate(shown: Showable) -> pa.Table:
    """Curves as `VALUES`, emergences as `EMERGENCES`; of a folder its curves, of a comparison its arms.

    Raises:
        SaltusError: if it has no curves.

    """
    match shown:
        case Emergences():
            columns = {name: [getattr(e.key, name) for e in shown] for name in ("group", "seed", "unit")}
            columns |= {name: [getattr(e, name) for e in shown] for name in ("after", "by", "lost", "diverged")}
            return pa.table(columns, schema=EMERGENCES)
        case Curves():
            lengths = [len(curve.steps) for curve in shown]
            keys = {name: [getattr(curve.key, name) for curve in shown] for name in ("group", "seed", "unit")}
            errors = [
                np.full(n, np.nan) if c.standard_error is None else c.standard_error
                for c, n in zip(shown, lengths, strict=True)
            ]
            columns = {name: np.repeat(np.array(values, dtype=object), lengths) for name, values in keys.items()}
            columns |= {
                "step": np.concatenate([np.empty(0, np.int64), *(curve.steps for curve in shown)]),
                "value": np.concatenate([np.empty(0), *(curve.values for curve in shown)]),
                "standard_error": np.concatenate([np.empty(0), *errors]),
                "chance": np.repeat([curve.chance for curve in shown], lengths),
                "ceiling": np.repeat([curve.ceiling for curve in shown], lengths),
            }
            return pa.table(columns, schema=VALUES)
        case ArmComparison():
            medians = [arm.median for arm in shown.arms]
            return pa.table(
                {name: [getattr(arm, name) for arm in shown.arms] for name in ("name", "seeds", "units", "emerged")}
                | {"median": [m.value for m in medians], "lower": [m.lower for m in medians]}
                | {"upper": [m.upper for m in medians]}
            )
        case _:
            return tabulate(_read_curves(shown))


def _read_curves(folder: Folder) -> Curves:
    if isinstance(folder, FolderWithoutCurves):
        raise SaltusError(f"{folder.path} is a {folder.kind}, which has no curves; give runs, scans or curves")
    return folder.records().curves


def _print(shown: Showable, console: Console) -> None:
    match shown:
        case Curves():
            console.print(summarise_curves(shown))
            for note in shown.notes:
                console.print(f"note: {note}", markup=False, highlight=False)
        case Emergences():
            emerged = sum(not e.censored for e in shown)
            console.print(f"{emerged} of {len(shown)} emerged: {shown.rule.describe()}", markup=False, highlight=False)
        case ArmComparison():
            for table in tabulate_comparison(shown):
                console.print(table)
            for pair in shown.pairs:
                console.print(f"{pair.sentence}.", markup=False, highlight=False)
        case _:
            listing = describe(shown)
            console.print(f"{listing.name}: {listing.what}, {listing.state}", markup=False, highlight=False)
            if listing.readable:
                show(shown, console)


def _draw(shown: Showable) -> str:
    """The main figure as base64 of a PNG; empty where there is none."""
    from saltus.report.still import draw_intervals, draw_medians

    match shown:
        case ArmComparison():
            image = draw_medians(shown)
        case PatchFolder() | AuditFolder():
            return ""
        case Emergences():
            ends = [float(step) for e in shown for step in (e.after, e.by) if step is not None and isfinite(step)]
            image = draw_intervals(shown, max(ends, default=0.0))
        case Curves():
            image = draw_intervals(shown.emergences(), shown.end)
        case _:
            curves = _read_curves(shown)
            image = draw_intervals(curves.emergences(), curves.end)
    return b64encode(image).decode("ascii")
