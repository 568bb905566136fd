"""Commands of the language-model half: pocket, audit, scan, patch and the demo."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.text import Text

import saltus
from saltus.arguments import DEFAULT_POCKETS, DEFAULT_ROOT
from saltus.cli.capabilities import (
    Beginning,
    Capabilities,
    Criteria,
    Lengths,
    Numbers,
    PromptFiles,
    choose_capabilities,
    choose_criteria,
)
from saltus.cli.options import Device, EngineChoice, Out, PlanOnly, Slurm, engine_of, print_path
from saltus.cli.watching import Watch, watch_if
from saltus.errors import SaltusError
from saltus.known_patterns import KNOWN_PATTERNS
from saltus.lm.capabilities.describe import ALLOWED
from saltus.lm.suites.base import Suite
from saltus.lm.suites.build import open_suite
from saltus.measure.jumps import find_largest_jump
from saltus.specs.capabilities import CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import (
    EffectKind,
    Followed,
    PatchSpec,
    PatternName,
    Precision,
    Queries,
    ScanSpec,
    Stage,
    Strategy,
)

_GIB = 2**30

SuiteName = Annotated[
    str, typer.Argument(metavar="SUITE", help="pythia, polypythias, folder:PATH, hub:OWNER/NAME or manifest:FILE.")
]
Sizes = Annotated[list[str] | None, typer.Option("--size", help="Only this size; may be given again.")]
Seeds = Annotated[list[str] | None, typer.Option("--seed", help="Only this seed; may be given again.")]
Steps = Annotated[
    list[str] | None,
    typer.Option("--step", metavar="N|N:M", help="Only this step, or those of a range; may be given again."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use what is cached; fetch nothing.")]
Disk = Annotated[float | None, typer.Option(min=0.0, help="GiB of fetched checkpoints to keep at most.")]
Links = Annotated[bool, typer.Option("--links", help="What a folder or a manifest names may lie outside of it.")]
Tokens = Annotated[
    Path | None, typer.Option("--tokenizer", help="Folder of the tokenizer, instead of the checkpoints' own.")
]
Precise = Annotated[Precision, typer.Option(help="Of weights and products.")]


def scan(
    suite: SuiteName,
    capability: Capabilities = None,
    prompts: PromptFiles = None,
    number: Numbers = None,
    length: Lengths = None,
    bos: Beginning = False,
    criterion: Criteria = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help=f"Look for it in every head: {', '.join(KNOWN_PATTERNS)}; may be given again."),
    ] = None,
    size: Sizes = None,
    seed: Seeds = None,
    step: Steps = None,
    strategy: Annotated[Strategy, typer.Option(help="Every checkpoint, bisection, or both in part.")] = "robust",
    follow: Annotated[Followed, typer.Option(help="Search the jumps of sets alone, or of each prompt too.")] = "sets",
    threshold: Annotated[float, typer.Option(help="Share of right prompts with which a capability is there.")] = 0.75,
    precision: Precise = "float32",
    device: Device = "auto",
    out: Out = DEFAULT_ROOT,
    tokenizer: Tokens = None,
    links: Links = False,
    offline: Offline = False,
    disk: Disk = None,
    engine: EngineChoice = "local",
    slurm: Slurm = None,
    plan: PlanOnly = False,
    watch: Watch = False,
) -> None:
    """Find the step at which capabilities appear, for each size and seed of a suite of checkpoints."""
    console = Console()
    capabilities = choose_capabilities(capability or (), prompts or (), number or (), length or ())
    spec = ScanSpec(
        suite=suite,
        sizes=tuple(size or ()),
        seeds=tuple(seed or ()),
        capabilities=capabilities,
        steps=tuple(step or ()),
        criteria=choose_criteria(criterion or (), capabilities),
        strategy=strategy,
        follow=follow,
        threshold=threshold,
        precision=precision,
        tokenizer=None if tokenizer is None else str(tokenizer),
        bos=bos,
        patterns=cast(tuple[PatternName, ...], tuple(pattern or ())),  # checked there
    )
    there = _open(suite, links, offline, disk)
    with watch_if(watch and not plan, out), engine_of(engine, device, None, slurm, out, console) as opened:
        if plan:
            console.print(
                Text(saltus.api.plan_scan(spec, suite=there, out=out, device=device, engine=opened)), soft_wrap=True
            )
            return
        folder = saltus.api.scan(spec, suite=there, out=out, device=device, engine=opened, console=console)
    saltus.api.show(folder, console)
    print_path(console, "report", saltus.api.report([folder], folder.path / "report.html"))


def patch(
    suite: SuiteName,
    size: Annotated[str, typer.Option(help="The size of both checkpoints.")],
    recipient: Annotated[int, typer.Option(help="Step of the checkpoint that is patched, before the jump.")],
    donor: Annotated[int, typer.Option(help="Step of the checkpoint that gives its patterns, after the jump.")],
    seed: Annotated[str, typer.Option(help="Seed of the recipient.")] = "0",
    donor_seed: Annotated[str | None, typer.Option(help="Seed of the donor, if it is another one.")] = None,
    capability: Annotated[str | None, typer.Option(help=f"{ALLOWED}; not a text, which has no single answer.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A JSONL file of your own prompts instead.")] = None,
    number: Numbers = None,
    length: Lengths = None,
    bos: Beginning = False,
    stage: Annotated[Stage, typer.Option(help="Before the softmax, or after it.")] = "pattern",
    queries: Annotated[Queries, typer.Option(help="All of them, or the scored ones alone.")] = "all",
    share: Annotated[float, typer.Option(help="Of the gain, what the smallest set of heads must recover.")] = 0.8,
    exact: Annotated[int, typer.Option(help="Heads measured exactly, the first of the screen; 0 for all.")] = 16,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only patch and this control, of {', '.join(get_args(EffectKind)[1:])}; may be given again."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Sequences in a pass; fewer take less memory.")] = 256,
    precision: Precise = "float32",
    trajectory: Annotated[bool, typer.Option(help="Measure checkpoints at hand around the pair as well.")] = True,
    device: Device = "auto",
    out: Out = DEFAULT_ROOT,
    tokenizer: Tokens = None,
    links: Links = False,
    offline: Offline = False,
    disk: Disk = None,
) -> None:
    """Find the heads whose patterns brought a capability, from a checkpoint before the jump and one after it."""
    console = Console()
    chosen = choose_capabilities(
        [capability] if capability else (), [prompts] if prompts else (), number or (), length or ()
    )
    if len(chosen) != 1:
        raise SaltusError(f"capability: {capability!r} and a file of prompts were given; patch one at a time")
    spec = PatchSpec(
        suite=suite,
        size=size,
        seed=seed,
        recipient=recipient,
        donor=donor,
        donor_seed=donor_seed,
        capability=chosen[0],
        stage=stage,
        queries=queries,
        share=share,
        exact=exact,
        effects=cast(tuple[EffectKind, ...], ("patch", *kind) if kind else get_args(EffectKind)),  # checked there
        rows=rows,
        precision=precision,
        tokenizer=None if tokenizer is None else str(tokenizer),
        bos=bos,
    )
    opened = _open(suite, links, offline, disk)
    folder = saltus.api.patch(spec, suite=opened, out=out, device=device, trajectory=trajectory, console=console)
    saltus.api.show(folder, console)
    print_path(console, "report", saltus.api.report([folder], folder.path / "report.html"))


def audit(
    suite: SuiteName,
    size: Sizes = None,
    seed: Seeds = None,
    out: Out = DEFAULT_ROOT,
    links: Links = False,
    offline: Offline = False,
    disk: Disk = None,
) -> None:
    """Check that the checkpoints of a suite are what they say they are; later scans heed what is found."""
    console = Console()
    opened = _open(suite, links, offline, disk)
    folder = saltus.api.audit(opened, sizes=size or (), seeds=seed or (), out=out, console=console)
    saltus.api.show(folder, console)
    print_path(console, "audit", folder.path)


def pocket(
    corpus: Annotated[str, typer.Option(help="'periodic', or 'stdlib': the standard library's sources.")] = "periodic",
    text: Annotated[Path | None, typer.Option(help="A text file, or a folder of them, instead.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that holds the suites.")] = DEFAULT_POCKETS,
    watch: Watch = False,
) -> None:
    """Train a family of small GPT-NeoX models, several sizes by several seeds, with all their checkpoints."""
    from saltus.lm.pocket.presets import choose_pocket

    console = Console()
    spec = choose_pocket(corpus, text, seeds=seeds, steps=steps)
    with watch_if(watch, out):
        root = saltus.api.pocket(spec, out=out, console=console)
    print_path(console, "suite", root)
    console.print(Text(f"scan it: saltus scan folder:{root} --capability repetition"), soft_wrap=True)


def demonstrate(out: Path, device: str, processes: int | None, console: Console) -> None:
    """The demo of the language-model half: train a pocket suite, scan it, patch across one jump, write the report."""
    from saltus.lm.pocket.presets import DEMO_POCKET

    root = saltus.api.pocket(DEMO_POCKET, out=out, processes=processes, console=console)
    name, asked = f"folder:{root}", (RepetitionSpec(prompts=32), CopyingSpec(prompts=32))
    spec = ScanSpec(suite=name, capabilities=asked, strategy="grid")
    scanned = saltus.api.scan(spec, out=out, device=device, console=console)
    saltus.api.show(scanned, console)
    folders: list[saltus.api.Folder] = [scanned]
    if jump := find_largest_jump(scanned.records().curves_of("probability", asked[0].kind)):
        across = PatchSpec(
            suite=name,
            size=jump.key.group,
            seed=jump.key.seed,
            recipient=jump.before,
            donor=jump.after,
            capability=asked[0],
        )
        folders.append(saltus.api.patch(across, out=out, device=device, console=console))
        saltus.api.show(folders[-1], console)
    print_path(console, "report", saltus.api.report(folders, out / f"{root.name}.html"))


def _open(name: str, links: bool, offline: bool, disk: float | None) -> Suite:
    return open_suite(name, links=links, offline=offline, disk_bytes=None if disk is None else int(disk * _GIB))
