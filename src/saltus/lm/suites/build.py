"""From the name of a suite to the suite."""

from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import Suite
from saltus.lm.suites.folder import FolderSuite
from saltus.lm.suites.hub import Hub
from saltus.lm.suites.listed import ListedSuite
from saltus.lm.suites.manifest import read_manifest
from saltus.lm.suites.pythia import PythiaSuite
from saltus.lm.suites.revisions import list_revisions

_NAMED = {"folder": "PATH", "hub": "OWNER/NAME", "manifest": "FILE"}


def open_suite(
    name: str,
    *,
    links: bool = False,
    offline: bool = False,
    disk_bytes: int | None = None,
    cache: Path | None = None,
    endpoint: str | None = None,
) -> Suite:
    """The suite 'pythia', 'polypythias', 'folder:PATH', 'hub:OWNER/NAME' or 'manifest:FILE'.

    With `links` what a folder or a manifest names may lie outside of it. The other arguments concern what is fetched
    from the hub: nothing at all if `offline`; at most `disk_bytes` are kept in `cache`, by default
    `~/.cache/saltus/hub`; `endpoint` is another hub's address.
    """
    kind, _, rest = name.partition(":")
    if kind in _NAMED and not rest:
        raise SaltusError(f"the suite is {name!r} without {_NAMED[kind]}; write {kind}:{_NAMED[kind]}")
    hub = Hub(
        cache or Path.home() / ".cache" / "saltus" / "hub", endpoint=endpoint, offline=offline, disk_bytes=disk_bytes
    )
    match kind:
        case "folder":
            return FolderSuite(Path(rest), links=links)
        case "hub":
            return ListedSuite(name, list_revisions(rest, hub))
        case "manifest":
            return ListedSuite(name, read_manifest(Path(rest), hub, links=links))
        case "pythia" | "polypythias" if not rest:
            return PythiaSuite(kind, hub)
        case _:
            raise SaltusError(
                f"there is no suite {name!r}; allowed are pythia, polypythias, folder:PATH, hub:OWNER/NAME and "
                "manifest:FILE"
            )
