"""How a page is put together: one template, one block of data, one file that asks nothing of the network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from saltus.errors import SaltusError
from saltus.report.html.blocks import Section, show_cell
from saltus.report.html.palette import DIVERGING
from saltus.storage.files import write_file


def write_report(sections: Sequence[Section], path: Path) -> None:
    """Write a page of sections of any kind as one file, which appears whole or not at all.

    Raises:
        SaltusError: if there is no section, or the file cannot be written.

    """
    if not sections:
        raise SaltusError("a report needs at least one run, scan or patch and none was given; name a folder")
    if not path.name:
        raise SaltusError(f"{path} cannot be written (it names no file); choose another place")
    html = (
        open_templates()
        .get_template("page.html.jinja")
        .render(
            sections=sections,
            question=" ".join(dict.fromkeys(section.question for section in sections)),
            data=_embed([section.data for section in sections]),
            plotly=Markup(get_plotlyjs()),  # the library's own text, which holds no end of a script element
            diverging=DIVERGING,
            show_cell=show_cell,
        )
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = html.encode("utf-8", "backslashreplace").decode("utf-8")  # a name may hold half a character
        write_file(path, lambda partial: partial.write_text(whole, encoding="utf-8", newline="\n"))
    except OSError as error:
        raise SaltusError(f"{path} cannot be written ({error}); choose another place or free space") from None


def open_templates(*folders: Path) -> Environment:
    """The kit's templates, and those in other folders."""
    places = [*folders, Path(__file__).parent]
    return Environment(loader=FileSystemLoader(places), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def render_section(section: Section, number: str) -> str:
    """One section as it stands in a page, under a number of its own."""
    templates = open_templates().get_template("sections.html.jinja")
    module: Any = templates.make_module({"show_cell": show_cell})
    return str(module.show_section(section, number))


def _embed(data: Any) -> Markup:
    """JSON that cannot end the script element it stands in, nor begin another."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
