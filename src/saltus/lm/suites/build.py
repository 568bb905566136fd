"""From the name of a suite to the suite."""

from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import Suite
from saltus.lm.suites.folder import FolderSuite
from saltus.lm.suites.hub import Hub
from saltus.lm.suites.pythia import PythiaSuite


def open_suite(
    name: str,
    *,
    offline: bool = False,
    disk_bytes: int | None = None,
    cache: Path | None = None,
    endpoint: str | None = None,
) -> Suite:
    """The suite 'pythia', 'polypythias' or 'folder:PATH'.

    The other arguments concern what is fetched from the hub: nothing at all if `offline`; at most `disk_bytes` are kept
    in `cache`, by default `~/.cache/saltus/hub`; `endpoint` is another hub's address.
    """
    if name.startswith("folder:"):
        path = name.removeprefix("folder:")
        if not path:
            raise SaltusError("the suite is 'folder:' without a path; write folder:PATH")
        return FolderSuite(Path(path))
    hub = Hub(
        cache or Path.home() / ".cache" / "saltus" / "hub", endpoint=endpoint, offline=offline, disk_bytes=disk_bytes
    )
    if name == "pythia":
        return PythiaSuite("pythia", hub)
    if name == "polypythias":
        return PythiaSuite("polypythias", hub)
    raise SaltusError(f"there is no suite {name!r}; allowed are pythia, polypythias and folder:PATH")
