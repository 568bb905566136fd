"""Every page is in the site's nav, every link leads somewhere, and a test runs the Python of a page."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "results/**/*.md")
    for path in ROOT.glob(pattern)
)
GENERATED = {"studies/README.md", "examples/README.md"}
"""Lists of programs, which docs/site.py makes."""


def list_nav(entries: list[Any]) -> Iterator[str]:
    """The pages of a nav; an entry that ends in / is every page of that folder."""
    for entry in entries:
        content = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(content, list):
            yield from list_nav(content)
        elif content.endswith("/"):
            yield from (page for page in PAGES if page.startswith(content))
        else:
            yield content


def test_every_page_is_in_the_nav_once() -> None:
    nav = list(list_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(nav) == sorted([*PAGES, *GENERATED])


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]+`", "", text)
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|href)="([^"]+)"', text)]
    files = [link.partition("#")[0] for link in links if not re.match(r"https?://|mailto:|#", link)]
    assert [file for file in files if not (ROOT / page).parent.joinpath(file).exists()] == []


def test_python_of_a_page_is_run_by_a_test() -> None:
    """By one that names the page."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    pages = [page for page in PAGES if "```python" in (ROOT / page).read_text(encoding="utf-8")]
    assert len(pages) >= 9
    assert [page for page in pages if f'"{Path(page).name}"' not in tests] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[([^\]]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert (project["version"], str(citation["date-released"])) == newest.groups()
    assert citation["version"] == project["version"]
    assert f"This is version {project['version']};" in (ROOT / "README.md").read_text(encoding="utf-8")
