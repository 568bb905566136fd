"""Commands of the synthetic half: demo, run, and what is made of studies: status, keep, figures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import saltus
from saltus.arguments import DEFAULT_KEPT, DEFAULT_ROOT
from saltus.cli.options import Device, EngineChoice, Out, PlanOnly, Processes, Slurm, engine_of, print_path
from saltus.cli.watching import Watch, watch_if
from saltus.errors import SaltusError
from saltus.extras import require_extra

Seeds = Annotated[int | None, typer.Option(help="Number of seeds, instead of what the study says.")]
StudyFile = Annotated[Path, typer.Argument(help="A Python file that exports `study`, a saltus.Study.")]
StudyFiles = Annotated[list[Path], typer.Argument(help="Study files, in the order of the page.")]
Scale = Annotated[str, typer.Option(help="'full', or 'laptop' where the study has it: fewer seeds and cells.")]
Kept = Annotated[Path, typer.Option(help="The archive of kept records.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps, instead of what the study says.")]


def demo(
    out: Out = DEFAULT_ROOT,
    device: Device = "auto",
    steps: Steps = None,
    processes: Processes = None,
    lm: Annotated[bool, typer.Option("--lm", help="Small language models instead: train, scan, patch.")] = False,
) -> None:
    """Train 8 seeds of a small linear map, show what emerged when, and write the report."""
    console = Console()
    if lm:
        if steps is not None:
            raise SaltusError(f"steps: {steps} was given, but the demo of language models has a fixed number of them")
        from saltus.cli.checkpoints import demonstrate

        demonstrate(out, device, processes, console)
        return
    from saltus.demo import DEMO

    folder = saltus.api.run(
        DEMO.with_overrides(steps=steps), out=out, device=device, processes=processes, console=console
    )
    saltus.api.show(folder, console)
    print_path(console, "report", saltus.api.report([folder], folder.path / "report.html"))


def run(
    study: StudyFile,
    seeds: Seeds = None,
    steps: Steps = None,
    device: Device = "auto",
    out: Out = DEFAULT_ROOT,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only the run of this name, or else those whose name contains it; again for more of them."),
    ] = None,
    scale: Scale = "full",
    grid: Annotated[bool, typer.Option("--grid", help="Train the cells of a race in full.")] = False,
    processes: Processes = None,
    engine: EngineChoice = "local",
    slurm: Slurm = None,
    plan: PlanOnly = False,
    watch: Watch = False,
) -> None:
    """Train the runs of a study; what is finished is kept, what was interrupted is resumed.

    Give the same command several times at once, and the processes share the runs among them.
    """
    console = Console()
    loaded, names = saltus.api.load_study(study), tuple(only or ())
    with (
        watch_if(watch and not plan, out, saltus.api.WatchedStudy(study, out, scale, seeds, steps, grid)),
        engine_of(engine, device, processes, slurm, out, console) as opened,
    ):
        if plan:
            from saltus.studies.jobs import tabulate_plan, tell_plan

            planned = saltus.api.plan_study(
                loaded,
                out=out,
                seeds=seeds,
                steps=steps,
                only=names,
                scale=scale,
                grid=grid,
                device=device,
                processes=processes,
                engine=opened,
            )
            console.print(tabulate_plan(planned))
            console.print(tell_plan(planned), markup=False, highlight=False)
            return
        trained = saltus.api.run_study(
            loaded,
            out=out,
            seeds=seeds,
            steps=steps,
            only=names,
            scale=scale,
            grid=grid,
            device=device,
            processes=processes,
            engine=opened,
            console=console,
        )
    for folder in (each for each in trained if each.finished):
        saltus.api.show(folder, console)
        print_path(console, "records", folder.path)
    if loaded.draw or loaded.race:
        page = saltus.api.draw_results([loaded], out, out / loaded.name, seeds=seeds, steps=steps)
        print_path(console, "figure and tables", page)


def status(
    study: StudyFile,
    seeds: Seeds = None,
    steps: Steps = None,
    out: Out = DEFAULT_ROOT,
    scale: Scale = "full",
    device: Device = "auto",
) -> None:
    """Say of each run of a study whether it is finished, failed, begun or waiting, and estimate the time left."""
    require_extra("train", "an estimate of the time left")
    from saltus.engines.local import choose_device
    from saltus.studies.sources import RunFolders, change_cells, list_cells, tell_races
    from saltus.studies.status import summarise_progress, tabulate_status

    console = Console()
    loaded, change, source = saltus.api.load_study(study), change_cells(seeds=seeds, steps=steps), RunFolders(out)
    cells = list_cells(loaded, scale, source, change)
    specs = [cell.run for cell in cells]
    console.print(tabulate_status(specs, out))
    for line in tell_races(loaded, [change(cell) for cell in loaded.at(scale)], source):
        console.print(line, markup=False, highlight=False)
    console.print(summarise_progress(specs, out, choose_device(device).type), markup=False, highlight=False)


def keep(
    studies: StudyFiles, out: Out = DEFAULT_ROOT, to: Kept = DEFAULT_KEPT, seeds: Seeds = None, steps: Steps = None
) -> None:
    """Add the small records of finished runs to the archive that figures are drawn from; weights stay behind."""
    console = Console()
    for study in studies:
        new = saltus.api.keep_results(saltus.api.load_study(study), out, to, seeds=seeds, steps=steps)
        console.print(Text(f"{study}: {new} more runs in {to}"), soft_wrap=True)


def figures(
    studies: StudyFiles,
    out: Kept = DEFAULT_KEPT,
    to: Annotated[
        Path | None, typer.Option(help="Folder of the page; that above the kept records if not given.")
    ] = None,
) -> None:
    """Draw the figures of studies and write their tables, from kept records and without training."""
    print_path(
        Console(), "results", saltus.api.draw_results([saltus.api.load_study(study) for study in studies], out, to)
    )
