import json
import subprocess
import sys
from pathlib import Path

import pytest

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint, Run, select_runs
from saltus.lm.suites.build import open_suite
from saltus.lm.suites.pythia import KNOWN_FAULTS, find_repository, list_known_faults


def write_checkpoint(folder: Path, size: int = 10) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox"}))
    (folder / "model.safetensors").write_bytes(bytes(size))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sizes; the one whose name comes first is the larger."""
    root = tmp_path / "suite"
    for seed in ("seed0", "seed2", "seed10", "data-1"):
        for step in (0, 1, 2, 10, 100):
            write_checkpoint(root / "small" / seed / f"step{step}")
    write_checkpoint(root / "large" / "0" / "step0", 20)
    return root


def test_pythia_is_as_it_was_published() -> None:
    suite = open_suite("pythia")
    assert suite.name == "pythia"
    sizes = ["14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b"]
    assert list(suite.runs()) == [Run(size, "0") for size in sizes]
    steps = suite.steps(Run("14m", "0"))
    assert len(steps) == 154
    assert (*steps[:12], steps[-1]) == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 143000)
    assert list(steps) == sorted(set(steps))


def test_polypythias_have_ten_seeds_and_six_runs_that_vary_one_thing() -> None:
    runs = open_suite("polypythias").runs()
    assert len(runs) == len(set(runs)) == 56
    assert [run.seed for run in runs if run.size == "31m"] == [str(seed) for seed in range(10)]
    assert [run.seed for run in runs if run.size == "160m"][10:] == [
        *("data-1", "data-2", "data-3", "weight-1", "weight-2", "weight-3")
    ]
    assert {Run(fault.size, fault.seed) for fault in KNOWN_FAULTS} <= {*runs, *open_suite("pythia").runs()}
    assert select_runs(open_suite("polypythias"), ["14m"], ["3"]) == [Run("14m", "3")]


@pytest.mark.parametrize(
    ("run", "repository"),
    [
        (Run("1.4b", "0"), "EleutherAI/pythia-1.4b"),
        (Run("70m", "9"), "EleutherAI/pythia-70m-seed9"),
        (Run("160m", "data-3"), "EleutherAI/pythia-160m-data-seed3"),
        (Run("160m", "weight-1"), "EleutherAI/pythia-160m-weight-seed1"),
    ],
)
def test_repositories_are_named_as_on_the_hub(run: Run, repository: str) -> None:
    assert find_repository(run) == repository


@pytest.mark.parametrize(("run", "step"), [(Run("14m", "10"), 0), (Run("14m", "0"), 3), (Run("1b", "0"), 0)])
def test_what_polypythias_do_not_list_is_missing(run: Run, step: int) -> None:
    with pytest.raises(MissingCheckpoint, match="has no step"):
        open_suite("polypythias").fetch(run, step)


def test_what_is_known_of_pythia_is_known_of_its_steps() -> None:
    """Issue 205 lists 76 revisions of 2.8b with the final weights, and 10 that share a second file."""
    steps = open_suite("pythia").steps(Run("2.8b", "0"))
    late = list_known_faults("pythia", Run("2.8b", "0"))
    assert (len(late), 143_000 in late, {*late} <= {*steps}) == (85, False, True)
    assert sorted({*steps} - late.keys())[:3] == [66_000, 67_000, 68_000]
    assert list_known_faults("pythia", Run("12b", "0")).keys() == {50_000, 58_000}
    assert list_known_faults("polypythias", Run("160m", "weight-2")) == {
        0: "known: the run does not continue from here (issue 203)"
    }
    assert list_known_faults("polypythias", Run("410m", "9")) == {}  # it is missing, and may be there one day
    assert list_known_faults("folder:x", Run("12b", "0")) == {}


@pytest.mark.parametrize("name", ["", "Pythia", "gpt2", "pythia:14m"])
def test_an_unknown_suite_is_refused(name: str) -> None:
    with pytest.raises(SaltusError, match="allowed are pythia, polypythias, folder:PATH, hub:"):
        open_suite(name)


def test_offline_reaches_the_hub(tmp_path: Path) -> None:
    suite = open_suite("pythia", offline=True, cache=tmp_path)
    with pytest.raises(SaltusError, match=f"EleutherAI/pythia-14m at step0 is not in {tmp_path}"):
        suite.fetch(Run("14m", "0"), 0)


def test_suites_are_listed_without_heavy_imports() -> None:
    code = (
        "import sys\nfrom saltus.lm.suites.build import open_suite\nimport saltus.lm.audit.audit\n"
        "open_suite('polypythias').runs()\n"
        "sys.exit(' '.join({'torch', 'transformers', 'huggingface_hub'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_is_listed_in_order(root: Path) -> None:
    suite = open_suite(f"folder:{root}")
    assert suite.name == f"folder:{root}"
    assert list(suite.runs()) == [*(Run("small", seed) for seed in ("0", "2", "10", "data-1")), Run("large", "0")]
    assert list(suite.steps(Run("small", "10"))) == [0, 1, 2, 10, 100]
    assert suite.fetch(Run("small", "data-1"), 100) == root / "small" / "data-1" / "step100"


def test_what_is_no_checkpoint_is_not_listed(root: Path) -> None:
    (root / "small" / "seed0" / "step200.partial").mkdir()
    (root / "small" / "seed0" / "steps").mkdir()
    (root / "tokenizer" / "files").mkdir(parents=True)
    (root / ".cache" / "seed0" / "step0").mkdir(parents=True)
    (root / "small" / "seed0" / "step7").write_text("a file")
    suite = open_suite(f"folder:{root}")
    assert list(suite.steps(Run("small", "0"))) == [0, 1, 2, 10, 100]
    assert len(suite.runs()) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [("config.json", "holds no config.json"), ("model.safetensors", "holds no safetensors weights")],
)
def test_a_bare_folder_is_a_missing_checkpoint(root: Path, name: str, message: str) -> None:
    (root / "small" / "seed0" / "step10" / name).unlink()
    suite = open_suite(f"folder:{root}")
    with pytest.raises(MissingCheckpoint, match=message):
        suite.fetch(Run("small", "0"), 10)
    with pytest.raises(MissingCheckpoint, match="has no step 11 of small seed 0"):
        suite.fetch(Run("small", "0"), 11)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sm all/seed0/step0", "'sm all' .* is no label"),
        ("small/$(seed)/step0", r"'\$\(seed\)' .* is no label"),
        ("small/seed0/step007", "'step007' .* is no step"),
        ("small/seed0/step1e3", "'step1e3' .* is no step"),
        ("small/seed0/step9999999999", "is no step"),
        ("small/0/step5", "two folders in .*small name the seed '0'"),
    ],
)
def test_strange_names_are_refused(root: Path, path: str, message: str) -> None:
    write_checkpoint(root / path)
    with pytest.raises(SaltusError, match=message):
        open_suite(f"folder:{root}")


@pytest.mark.parametrize("link", ["other", "small/seed7", "small/seed0/step5"])
def test_no_folder_leads_out_of_the_suite(root: Path, tmp_path: Path, link: str) -> None:
    depth = 2 - link.count("/")
    target = tmp_path / "outside"
    write_checkpoint(target.joinpath(*["seed0", "step0"][2 - depth :]) if depth else target)
    (root / link).symlink_to(target)
    with pytest.raises(SaltusError, match="leads out of"):
        open_suite(f"folder:{root}")


def test_no_file_leads_out_of_the_suite(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    config = root / "small" / "seed0" / "step0" / "config.json"
    config.unlink()
    config.symlink_to(tmp_path / "secret")
    inside = root / "small" / "seed0" / "step1" / "config.json"
    inside.unlink()
    inside.symlink_to(root / "small" / "seed0" / "step2" / "config.json")
    suite = open_suite(f"folder:{root}")
    with pytest.raises(SaltusError, match=r"config\.json leads out of") as caught:
        suite.fetch(Run("small", "0"), 0)
    assert not isinstance(caught.value, MissingCheckpoint)
    assert suite.fetch(Run("small", "0"), 1).is_dir()


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="holds no checkpoints; put them into SIZE/SEED/stepN"):
        open_suite(f"folder:{tmp_path}")
    with pytest.raises(SaltusError, match="there is no folder"):
        open_suite(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(SaltusError, match="without PATH; write folder:PATH"):
        open_suite("folder:")


def write_trainer_checkpoint(folder: Path) -> Path:
    """With what a Trainer leaves beside the weights; the pickles in it must never be read."""
    write_checkpoint(folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"no pickle")
    (folder / "trainer_state.json").write_text("{}")
    return folder


def test_the_output_of_a_trainer_is_one_run(tmp_path: Path) -> None:
    root = tmp_path / "my-run"
    for step in (500, 1000, 10000):
        write_trainer_checkpoint(root / f"checkpoint-{step}")
    (root / "runs" / "events").mkdir(parents=True)
    (root / "tmp-checkpoint-20000").mkdir()
    suite = open_suite(f"folder:{root}")
    assert list(suite.runs()) == [Run("my-run", "0")]
    assert list(suite.steps(Run("my-run", "0"))) == [500, 1000, 10000]
    assert suite.fetch(Run("my-run", "0"), 1000) == root / "checkpoint-1000"


def test_one_run_alone_is_a_suite(tmp_path: Path) -> None:
    for step in (0, 8):
        write_checkpoint(tmp_path / "alone" / f"step{step}")
    assert list(open_suite(f"folder:{tmp_path / 'alone'}").steps(Run("alone", "0"))) == [0, 8]


def test_trainers_may_be_the_runs_of_a_suite(root: Path) -> None:
    write_trainer_checkpoint(root / "small" / "seed3" / "checkpoint-30")
    write_checkpoint(root / "step5")  # beside whole runs it belongs to none
    suite = open_suite(f"folder:{root}")
    assert list(suite.steps(Run("small", "3"))) == [30]
    assert len(suite.runs()) == 6


def test_a_step_that_is_there_twice_is_refused(root: Path) -> None:
    write_trainer_checkpoint(root / "small" / "seed0" / "checkpoint-10")
    with pytest.raises(SaltusError, match=r"are both step 10 of small seed 0; leave one of them out"):
        open_suite(f"folder:{root}")


def test_a_run_alone_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "outside")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "checkpoint-5").symlink_to(tmp_path / "outside")
    with pytest.raises(SaltusError, match="leads out of"):
        open_suite(f"folder:{tmp_path / 'alone'}")


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_a_link_to_itself_is_nothing(where: str, tmp_path: Path) -> None:
    for step in (0, 8):
        write_checkpoint(tmp_path / "run" / f"step{step}")
    link = tmp_path / "run" / ("step0/x" if where == "inside" else "step16")
    link.symlink_to(link)
    suite = open_suite(f"folder:{tmp_path / 'run'}")
    assert list(suite.steps(Run("run", "0"))) == [0, 8]
    assert suite.fetch(Run("run", "0"), 0).name == "step0"
