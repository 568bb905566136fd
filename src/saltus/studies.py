"""A study is a Python file that exports its runs; nothing else is known of it."""

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
        raise SaltusError(f"{path}: {error}") from None
    except Exception as error:
        raise SaltusError(f"{path}{_line(error, path)}: the study raised {type(error).__name__}: {error}") from None
    if not isinstance(runs, Sequence) or not runs or not all(isinstance(run, RunSpec) for run in runs):
        raise SaltusError(f"{path}: `runs` is {type(runs).__name__}; a study exports `runs`, a non-empty list of RunSpec")
    names = [run.name for run in runs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise SaltusError(f"{path}: the name {min(repeated)!r} is given to more than one run; names must differ")
    return list(runs)


def _line(error: BaseException, path: Path) -> str:
    """`:LINE` of the study file where the error came from, if it is known."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
