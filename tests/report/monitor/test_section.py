"""The page and the terminal on a monitored training: complete whatever the training came to."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.report.page import HOSTILE, render
from tests.report.traces import traces_of

from saltus.monitor.folder import MonitorFolder
from saltus.monitor.records import Event, MonitorRecords, ProbeBatch, Row
from saltus.report.monitor.figures import draw_scalars
from saltus.report.monitor.summary import list_sharpened
from saltus.report.terminal.monitor import describe_monitor, tabulate_monitor
from saltus.specs.monitor import MonitorSpec

TOKENS = np.array([[1, 2, 1, 2]])
MASK = np.zeros((1, 4, 4), dtype=bool)
MASK[0, 2, 1] = MASK[0, 3, 2] = True


def write(
    path: Path, *, seed: str = "0", capability: str = "copying", steps: int = 6, read: bool = True
) -> MonitorRecords:
    """Copying from step 30 on; of two layers with a head, the second has the pattern from step 20 on."""
    folder = MonitorFolder(path)
    spec = MonitorSpec(group="mine", seed=seed, capabilities=(capability,), patterns=("induction",), sha256="0")
    with folder.writing(spec):
        folder.keep_probe(ProbeBatch(("induction",), np.array([0.2]), TOKENS, MASK, ("a", HOSTILE, "a", "b")))
        for step in range(0, 10 * steps, 10):
            masses = np.array([[[0.25]], [[0.2 if step < 20 else 0.9]]])
            share = {capability: float(step >= 30)} if step != 40 else {}
            failed = {capability: "ValueError: too long"} if step == 40 else {}
            row = Row(step, step / 2.0, step / 100.0, 3.0 - step / 100.0, share, masses=masses, failed=failed)
            folder.append_row(row if read else Row(step, 1.0, 1.0, failed={"patterns": "no attention"}))
            if read:
                folder.keep_pattern(step, np.tile(np.eye(4, dtype=np.float32), (2, 1, 1, 1)))
        folder.append_events([Event("rewound", 15, by=10, text="the training went back")])
    return folder.records()


def test_everything_that_was_found_is_on_the_page(tmp_path: Path) -> None:
    page = render(tmp_path, write(tmp_path / "mine"), write(tmp_path / "other", seed="1"))
    assert "copying emerged in (20, 30] and induction had its first head in (10, 20]" in page.text
    assert "1 of 2 heads have it (mass of at least 0.5 of the way from chance to ceiling)" in page.text
    assert "the sharpest is layer 1 head 0" in page.text
    assert "a share of 0.02 (at most 0.02 was allowed)" in page.text
    assert "copying could not be measured in 1 of 6 probes, first because: ValueError: too long" in page.text
    assert "capability copying 20 30 1.000" in page.text
    assert "induction layer 1 head 0 10 20 0.900" in page.text
    assert "induction layer 0 head 0 40 > 40 0.250" in page.text
    assert "15 rewound the training went back" in page.text
    assert set(page.sections[0]["figures"]) == {"loss", "capabilities", "patterns", "grid"}
    maps = page.sections[0]["maps"]["attention"]
    assert [panel["title"] for panel in maps["views"][0]["groups"][0][1]] == [
        "induction",
        "layer 1 head 0",
        "layer 0 head 0",
    ]
    names = [trace["name"] for trace in page.sections[0]["figures"]["capabilities"]["views"][""]["figure"]["data"]]
    assert "copying, seed 1" in names  # beside the other seed of its group


def test_heads_are_numbered_by_how_fast_they_sharpened(tmp_path: Path) -> None:
    """Chance is .2, so that .6 is sharp and .4 half-way: head 1 takes the fewest steps, though it is the last to come.

    Head 0 was sharp when it was first looked at, head 2 rises over all probes, head 3 passes and comes back, head 4
    is never sharp for two probes in a row.
    """
    masses = {
        0: [0.9, 0.9, 0.9, 0.9, 0.9, 0.9],
        1: [0.2, 0.2, 0.2, 0.3, 0.7, 0.7],
        2: [0.2, 0.3, 0.5, 0.5, 0.7, 0.9],
        3: [0.3, 0.5, 0.7, 0.8, 0.3, 0.3],
        4: [0.2, 0.2, 0.7, 0.2, 0.2, 0.7],
    }
    folder = MonitorFolder(tmp_path / "mine")
    with folder.writing(MonitorSpec(group="mine", seed="0", capabilities=(), patterns=("induction",), sha256="0")):
        folder.keep_probe(ProbeBatch(("induction",), np.array([0.2]), TOKENS, MASK))
        for place, step in enumerate((0, 10, 20, 40, 50, 70)):
            row = np.array([[[masses[head][place]] for head in masses]])
            folder.append_row(Row(step, step / 2.0, step / 100.0, masses=row))
    sharpened = list_sharpened(folder.records(), "induction")
    assert [(each.unit, each.steps, each.mass) for each in sharpened] == [
        ("layer 0 head 1", 10, 0.7),
        ("layer 0 head 3", 20, 0.3),
        ("layer 0 head 2", 40, 0.9),
        ("layer 0 head 0", None, 0.9),
    ]
    page = render(tmp_path, folder.records())
    view = page.sections[0]["figures"]["grid"]["views"]["0"]
    assert view["figure"]["data"][0]["text"] == [["4", "1", "3", "2", ""]]
    assert view["figure"]["data"][0]["hovertext"][0][2] == "layer 0 head 2: 0.90, sharp in (40, 50], within 40 steps"
    assert (
        "overstate: 1: layer 0 head 1, sharp in (40, 50], within 10 steps; 2: layer 0 head 3, sharp in (10, 20], lost "
        "at 50, within 20 steps; 3: layer 0 head 2, sharp in (40, 50], within 40 steps; 4: layer 0 head 0, sharp at 0."
    ) in view["caption"]


@pytest.mark.parametrize("layers", [(2, 3), (3, 2)], ids=["grows", "shrinks"])
def test_a_model_that_changes_in_training_is_shown_whole(layers: tuple[int, int], tmp_path: Path) -> None:
    """Its last layer has the pattern from step 40 on, two probes after the change."""
    folder = MonitorFolder(tmp_path / "mine")
    with folder.writing(MonitorSpec(group="mine", seed="0", patterns=("induction",), sha256="0")):
        folder.keep_probe(ProbeBatch(("induction",), np.array([0.2]), TOKENS, MASK))
        for step in range(0, 60, 10):
            count = layers[step >= 20]
            masses = np.full((count, 1, 1), 0.2)
            masses[-1] = 0.9 if step >= 40 else 0.2
            folder.append_row(Row(step, step / 2.0, step / 100.0, masses=masses))
            folder.keep_pattern(step, np.tile(np.eye(4, dtype=np.float32), (count, 1, 1, 1)))
    records, last = folder.records(), layers[1] - 1
    [found] = records.strongest.emergences()
    assert (found.after, found.by) == (30, 40)
    assert [each.unit for each in list_sharpened(records, "induction")] == [f"layer {last} head 0"]
    page = render(tmp_path, records)
    assert f"the sharpest is layer {last} head 0" in page.text
    maps = page.sections[0]["maps"]["attention"]
    titles = [panel["title"] for panel in maps["views"][0]["groups"][0][1]]
    assert (titles[1], len(titles)) == (f"layer {last} head 0", 1 + layers[1])
    assert maps["frames"] == ["step 20", "step 30", "step 40", "step 50"]


def test_numbers_of_ones_own_are_drawn_one_at_a_time(tmp_path: Path) -> None:
    """Beside those of the other seeds; what was never measured is left out."""
    for seed in range(2):
        folder = MonitorFolder(tmp_path / f"seed {seed}")
        names = ("norm", "never", HOSTILE)
        with folder.writing(MonitorSpec(group="mine", seed=str(seed), scalars=names, sha256="0")):
            for step in range(0, 30, 10):
                numbers = {"norm": 3.0 + seed + step, HOSTILE: -1.0} | ({"norm": float("nan")} if step == 10 else {})
                folder.append_row(Row(step, 1.0, 0.0, scalars=numbers))
    watched = [MonitorFolder(tmp_path / f"seed {seed}").records() for seed in range(2)]
    page = render(tmp_path, *watched)
    figure = page.sections[0]["figures"]["scalars"]
    assert (figure["by"], list(figure["views"])) == (["scalar"], ["0", "1"])
    drawn, caption = draw_scalars(["norm"], watched[0], watched[1:]).views["0"]
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in traces_of(drawn)] == [
        ("norm", [0, 20], [3.0, 23.0]),
        ("norm, seed 1", [0, 20], [4.0, 24.0]),
    ]
    assert caption == "Value at each probe."
    assert "alert(1)" not in "".join(f"{tag}{attributes}" for tag, attributes in page.elements)


def test_names_and_tokens_of_anybody_run_no_script(tmp_path: Path) -> None:
    page = render(tmp_path, write(tmp_path / "mine", capability=HOSTILE))
    assert "alert(1)" not in "".join(f"{tag}{attributes}" for tag, attributes in page.elements)
    assert not any("onerror" in attributes for _, attributes in page.elements)


@pytest.mark.parametrize(
    ("steps", "read", "said"),
    [(0, True, "Nothing has been measured yet"), (3, False, "Nothing has emerged by step 20, at 2 probes in a row")],
)
def test_a_training_that_came_to_nothing_has_a_page(steps: int, read: bool, said: str, tmp_path: Path) -> None:
    assert said in render(tmp_path, write(tmp_path / "mine", steps=steps, read=read)).text


def test_the_terminal_says_the_same(tmp_path: Path) -> None:
    records = write(tmp_path / "mine")
    console = Console(width=160, file=StringIO())
    for table in tabulate_monitor(records):
        console.print(table)
    assert isinstance(console.file, StringIO)
    text = " ".join(console.file.getvalue().split())
    assert "copying │ (20, 30] │ 100%" in text
    assert "induction │ (10, 20] │ layer 1 head 0: 0.90 │ 0.20 │ 1 of 2" in text
    assert "6 probes, the last at step 50; probes took 0.5 s and the training 25.0 s" in describe_monitor(records)
    assert tabulate_monitor(write(tmp_path / "none", steps=0)) == []
