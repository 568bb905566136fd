"""How a page is put together: one template, one block of data, one file that asks nothing of the network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from saltus.errors import SaltusError
from saltus.storage.files import write_file


def write_page(template: str, path: Path, data: Mapping[str, Any], **values: Any) -> None:
    """Render a template with its values and the data that its script reads, as a file that appears whole or not."""
    environment = Environment(
        loader=FileSystemLoader([folder for folder in Path(__file__).parents[1].iterdir() if folder.is_dir()]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"number": format_number, "count": format_count}
    html = environment.get_template(template).render(
        data=_embed(data),
        plotly=Markup(get_plotlyjs()),  # the library's own text, which holds no end of a script element
        **values,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda partial: partial.write_text(html, encoding="utf-8"))
    except OSError as error:
        raise SaltusError(f"{path} cannot be written ({error}); choose another place or free space") from None


def to_json(figure: go.Figure) -> Any:
    """A figure as the page's script reads it."""
    return json.loads(str(figure.to_json()))


def format_number(value: float, digits: int = 3) -> str:
    """With so many digits; a dash for what is not known."""
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.{digits}f}"


def format_count(value: float | None) -> str:
    """With commas; a dash for what is not known."""
    return "\N{EN DASH}" if value is None else f"{value:,.0f}"


def format_setting(value: Any) -> str:
    """The value of a setting as a person would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(format_setting(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _embed(data: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in, nor begin another."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
