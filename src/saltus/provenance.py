"""What stands beside finished records: versions, machine and date."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe_provenance(*packages: str) -> dict[str, Any]:
    """Versions of saltus and of `packages`, the machine, and the date."""
    versions = {name: version(name) for name in ("saltus", *packages, "numpy")}
    machine = {"system": platform.platform(), "processor": _name_processor(), "cores": os.cpu_count()}
    date = datetime.now(UTC).date().isoformat()
    return {"versions": {"python": platform.python_version(), **versions}, "machine": machine, "date": date}


def _name_processor() -> str:
    """As the kernel names it, which Python does not on every system."""
    listing = Path("/proc/cpuinfo")
    names = (
        re.findall(r"^model name\s*: (.+)$", listing.read_text(encoding="utf-8"), re.MULTILINE)
        if listing.exists()
        else []
    )
    return names[0] if names else platform.processor()
