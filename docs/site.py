"""What the site is made of: the Markdown of the repository at its own paths, so that links hold as they stand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHOWN = ("*.md", "docs/**/*.md", "results/**/*.md")
LINKED = (
    "LICENSE",
    "CITATION.cff",
    "docs/site.css",
    "docs/**/*.png",
    "results/*.png",
    "results/*.csv",
    "examples/*",
    "studies/**/*.py",
)
LISTED = {"studies": "Studies", "examples": "Examples"}
"""Folders of programs, and the titles of the pages that list them."""


def list_paths(pattern: str) -> list[str]:
    """What fits `pattern`, from the root of the repository; the first page of a folder comes first."""
    paths = [path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file()]
    return [path.as_posix() for path in sorted(paths, key=lambda p: (p.parent, p.name != "README.md", p.name))]


def expand(nav: list[Any]) -> Iterator[Any]:
    """The entries of `nav`, with all pages of a folder where it names the folder."""
    for entry in nav:
        if not isinstance(entry, dict):
            yield entry
            continue
        ((title, content),) = entry.items()
        if isinstance(content, list):
            yield {title: list(expand(content))}
        else:
            yield {title: list_paths(f"{content}**/*.md") if content.endswith("/") else content}


def list_programs(folder: str) -> str:
    """A page with a line for each program of a folder: what its docstring says first."""
    lines = [f"# {LISTED[folder]}", ""]
    for path in map(Path, [*list_paths(f"{folder}/**/*.py"), *list_paths(f"{folder}/**/*.ipynb")]):
        said = "a notebook" if path.suffix == ".ipynb" else read_docstring(ROOT / path)
        name = path.relative_to(folder).as_posix()
        lines.append(f"- [{name}]({name}): {said}")
    return "\n".join(lines)


def read_docstring(path: Path) -> str:
    """The first paragraph of a program's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.partition("\n\n")[0]


def on_config(config: MkDocsConfig) -> None:
    """Write out the folders of the nav."""
    config.nav = list(expand(config.nav or []))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of the repository in the place of those that mkdocs found in docs/."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = [path for pattern in (*SHOWN, *LINKED) for path in list_paths(pattern)]
    shown = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in paths]
    lists = [File.generated(config, f"{folder}/README.md", content=list_programs(folder)) for folder in LISTED]
    return Files([*theme, *shown, *lists])


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to a folder to its first page; read what is folded as Markdown too, as the repository shows it."""
    folder = (ROOT / page.file.src_uri).parent

    def lead(link: re.Match[str]) -> str:
        return f"]({link[1].rstrip('/')}/README.md)" if (folder / link[1]).is_dir() else link[0]

    return re.sub(r"\]\(([\w./-]+)\)", lead, markdown).replace("<details>", "<details markdown>")


def on_page_content(html: str, page: Page, **_: Any) -> None:
    """Refuse a page with a table that was not read as one."""
    if "| --- |" in html:
        raise PluginError(f"{page.file.src_uri} shows a table as it is written; it needs an empty line before it")
