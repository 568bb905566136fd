"""The wheel holds all that is needed: built, installed into an empty environment, and used in an empty folder."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

PROJECT = Path(__file__).parents[1]


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints, with no path to the sources."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_works_outside_of_the_repository(tmp_path: Path) -> None:
    copied, wheels, environment, empty = (tmp_path / name for name in ("copy", "wheels", "environment", "empty"))
    shutil.copytree(PROJECT / "src", copied / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copied)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, copied, cwd=tmp_path)
    (wheel,) = wheels.iterdir()
    with ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("saltus/")}
    sources = {path.relative_to(PROJECT / "src") for path in (PROJECT / "src" / "saltus").rglob("*") if path.is_file()}
    assert held == {path.as_posix() for path in sources if path.suffix != ".pyc"}

    venv.create(environment, with_pip=False)
    programs = os.pathsep.join(str(environment / folder) for folder in ("bin", "Scripts"))
    python = str(shutil.which("python", path=programs))
    call(*pip, f"--python={python}", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # What else it needs is taken from here; the wheel stands before it, and before the sources.
    others = [path for path in sys.path if Path(path).name == Path(site.getsitepackages()[0]).name]
    (own / "others.pth").write_text("\n".join(others), encoding="utf-8")
    empty.mkdir()
    saltus = str(shutil.which("saltus", path=programs))
    here = call(python, "-c", "import saltus; print(saltus.__file__)", cwd=empty).strip()
    assert Path(here).is_relative_to(environment)
    # A step that is not compiled: what is tried here is the package and not the compiler.
    out = call(saltus, "demo", "--steps", "1", "--processes", "1", cwd=empty, TORCHDYNAMO_DISABLE="1")
    assert "None of 8 seeds learned all 10 rows" in out
    (report,) = empty.glob("runs/demo-*/report.html")
    assert report.stat().st_size > 100_000
