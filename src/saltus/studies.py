"""A study is a Python file that exports its runs; nothing else is known of it."""

import reprlib
import runpy
from collections.abc import Sequence
from pathlib import Path

from saltus.errors import SaltusError
from saltus.specs import RunSpec


def load_study(path: Path) -> list[RunSpec]:
    """Execute the study file and return the `RunSpec`s that it exports as `runs`."""
    if not path.is_file():
        raise SaltusError(f"{path}: there is no such study file; give the path of a Python file that exports `runs`")
    try:
        runs = runpy.run_path(str(path), run_name="saltus.study").get("runs")
    except SaltusError as error:
        raise SaltusError(f"{path}{_line(error, path)}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a study may raise anything
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise SaltusError(f"{path}{_line(error, path)}: the study raised {text}") from None
    if not isinstance(runs, Sequence) or not runs or not all(isinstance(run, RunSpec) for run in runs):
        given = " ".join(reprlib.repr(runs).split())
        raise SaltusError(f"{path}: `runs` is {given}; a study exports `runs`, a non-empty list of RunSpec")
    names = [run.name for run in runs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise SaltusError(f"{path}: the name {min(repeated)!r} is given to more than one run; names must differ")
    return list(runs)


def _line(error: BaseException, path: Path) -> str:
    """`:LINE` of the study file where the error came from, if it is known."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
