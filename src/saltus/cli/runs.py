"""Commands of the synthetic half: demo and run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from saltus import api
from saltus.api import DEFAULT_ROOT
from saltus.cli.options import Device, Out, print_path
from saltus.errors import SaltusError
from saltus.studies import load_study

Seeds = Annotated[int | None, typer.Option(help="Number of seeds, instead of what the study says.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps, instead of what the study says.")]


def demo(
    out: Out = DEFAULT_ROOT,
    device: Device = "auto",
    steps: Steps = None,
    lm: Annotated[bool, typer.Option("--lm", help="Small language models instead: train, scan, patch.")] = False,
) -> None:
    """Train 8 seeds of a small linear map, show what emerged when, and write the report."""
    console = Console()
    if lm:
        if steps is not None:
            raise SaltusError(f"steps: {steps} was given, but the demo of language models has a fixed number of them")
        from saltus.cli.checkpoints import demonstrate

        demonstrate(out, device, console)
        return
    from saltus.demo import DEMO

    folder = api.run(DEMO.with_overrides(steps=steps), out=out, device=device, console=console)
    api.show(folder, console)
    print_path(console, "report", api.report([folder], folder.path / "report.html"))


def run(
    study: Annotated[Path, typer.Argument(help="A Python file that exports `runs`, a list of RunSpec.")],
    seeds: Seeds = None,
    steps: Steps = None,
    device: Device = "auto",
    out: Out = DEFAULT_ROOT,
    only: Annotated[str | None, typer.Option(help="Only the runs whose name contains this.")] = None,
) -> None:
    """Train the runs of a study; what is finished is kept, what was interrupted is resumed."""
    console = Console()
    specs = load_study(study)
    chosen = [spec for spec in specs if only is None or only in spec.name]
    if not chosen:
        raise SaltusError(f"only: {only!r} is in no run's name; the names are {', '.join(s.name for s in specs)}")
    # All of them are checked before the first one trains.
    for spec in [spec.with_overrides(seeds=seeds, steps=steps) for spec in chosen]:
        folder = api.run(spec, out=out, device=device, console=console)
        api.show(folder, console)
        print_path(console, "records", folder.path)
