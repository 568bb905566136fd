"""Training the runs of the synthetic half."""

import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from saltus.api.folders import DEFAULT_ROOT, summarise
from saltus.specs import RunSpec
from saltus.store import RunFolder


def run(spec: RunSpec, *, out: Path = DEFAULT_ROOT, device: str = "auto", console: Console | None = None) -> RunFolder:
    """Train `spec` in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished run is returned as it is. `device` is 'cpu', 'cuda', or 'auto': CUDA where it is there.
    """
    console = console or Console()
    folder = RunFolder(out / spec.run_id)
    if folder.finished:
        folder.require(spec)
        console.print(Text(f"{folder.path} is finished already; delete it to train it again"), soft_wrap=True)
        return folder
    # Imported late: listing and reporting must not wait for torch.
    from saltus.engines.local import choose_device, open_trainer
    from saltus.report.live import LiveView
    from saltus.seeding import Streams
    from saltus.tasks.build import build_task
    from saltus.train.loop import train

    chosen = choose_device(device)
    facts = build_task(spec.task, Streams(spec.master_seed).generator("task")).facts
    started = time.monotonic()
    with open_trainer(spec, chosen) as trainer, folder.writing(spec, facts), LiveView(spec, console) as view:
        last = train(spec, folder, trainer, view)
        spent = {"device": chosen.type, "last_step": last, "seconds": time.monotonic() - started}
        folder.finish({**spent, **summarise("torch")})
    return folder
