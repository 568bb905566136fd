"""What people have is a suite: revisions on a hub, folders of many shapes, manifests. All are scanned here."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from tests.lm.tiny_suite import make_model, make_word_tokenizer, save_checkpoint

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.scanning.records import ScanRecords
from saltus.lm.suites.base import Run, Suite, count_tokens
from saltus.lm.suites.build import open_suite
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import ScanSpec

if TYPE_CHECKING:
    from conftest import LoopbackHub

QUIET = Console(quiet=True)
Saltus = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints of a tiny run, which moves a little between them, and three of another."""
    root, tokenizer, generator = tmp_path_factory.mktemp("all"), make_word_tokenizer(), torch.Generator()
    folders: list[Path] = []
    for seed in (0, 1):
        model = make_model(seed)
        for step in range(3):
            folders.append(save_checkpoint(root / f"{seed}-{step}", model, tokenizer))
            for weights in model.parameters():
                weights.data.add_(torch.randn(weights.shape, generator=generator), alpha=0.01)
    return folders


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def scan(suite: Suite, out: Path, tokenizer: str | None = None) -> ScanRecords:
    spec = ScanSpec(suite=suite.name, capabilities=(CopyingSpec(prompts=2),), strategy="grid", tokenizer=tokenizer)
    return api.scan(spec, suite=suite, out=out, device="cpu", console=QUIET).records()


def list_measured(records: ScanRecords) -> list[tuple[str, str, int]]:
    assert records.missing.to_pylist() == []
    rows = records.probes.filter(records.probes["prompt"].to_numpy() == 0).select(["size", "seed", "step"]).to_pylist()
    return [(row["size"], row["seed"], row["step"]) for row in rows]


# --- revisions on a hub ------------------------------------------------------------------------------------------

OLMO = ("main", "stage1-step0-tokens0B", "stage1-step1000-tokens3B", "stage2-ingredient1-step1000-tokens3B")


def open_hub(server: "LoopbackHub", cache: Path, text: str, *, offline: bool = False) -> Suite:
    return open_suite(f"hub:{text}", cache=cache, endpoint=server.endpoint, offline=offline)


def test_revisions_like_those_of_olmo(server: "LoopbackHub", checkpoints: list[Path], tmp_path: Path) -> None:
    folders = dict(zip(OLMO, [checkpoints[3], *checkpoints[:3]], strict=True))
    server.repositories["allenai/OLMo-tiny"] = {name: read_files(folder) for name, folder in folders.items()}
    suite = open_hub(server, tmp_path / "cache", "allenai/OLMo-tiny")
    records = scan(suite, tmp_path / "out")
    first, second = "OLMo-tiny-stage1", "OLMo-tiny-stage2-ingredient1"
    assert list_measured(records) == [(first, "0", 0), (first, "0", 1000), (second, "0", 1000)]
    assert records.tokens == {(first, "0", 0): 0, (first, "0", 1000): 3 * 10**9, (second, "0", 1000): 3 * 10**9}
    offline = open_hub(server, tmp_path / "cache", "allenai/OLMo-tiny", offline=True)
    assert [(run, offline.steps(run)) for run in offline.runs()] == [(run, suite.steps(run)) for run in suite.runs()]


def test_several_repositories_are_seeds(server: "LoopbackHub", checkpoints: list[Path], tmp_path: Path) -> None:
    for seed, folder in enumerate(checkpoints[:2]):
        names = ("main", "checkpoint-1000", "step20")
        server.repositories[f"a/tiny-seed{seed}"] = dict.fromkeys(names, read_files(folder))
    suite = open_hub(server, tmp_path / "cache", "a/tiny-seed0,a/tiny-seed1")
    measured = [("tiny", seed, step) for seed in "01" for step in (20, 1000)]
    assert list_measured(scan(suite, tmp_path / "out")) == measured


@pytest.mark.parametrize(
    ("pattern", "runs"),
    [
        ("iter-{step}", {Run("tiny", "0"): [5, 50]}),
        ("{group}-at-{step}", {Run("wide", "0"): [7]}),
        ("s{seed}/{step}/{tokens}", {Run("tiny", "4"): [10]}),
    ],
)
def test_revisions_by_a_pattern(
    pattern: str, runs: Mapping[Run, list[int]], server: "LoopbackHub", tmp_path: Path
) -> None:
    server.repositories["a/tiny"] = {key: {} for key in ("main", "iter-50", "iter-5", "wide-at-7", "s4/10/2.5M")}
    suite = open_hub(server, tmp_path, f"a/tiny@{pattern}")
    assert {run: suite.steps(run) for run in suite.runs()} == runs
    assert count_tokens(suite, Run("tiny", "4"), 10) == (2_500_000 if "tokens" in pattern else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/none", "the hub has no a/none"),
        ("a/tiny", r"a/tiny has no checkpoint: none of the 2 revisions of it \(main, v1\) names a step"),
        ("a/tiny@x{step}", "fits x{step}"),
        ("a/tiny@main", "the pattern is 'main'; it names {step}, and besides it"),
        ("a/tiny@{step}{step}", "each at most once"),
        ("../..", r"'\.\./\.\.' is no repository; write OWNER/NAME"),
        ("a/twice", "a/twice@checkpoint-5 and a/twice@step5 are both step 5 of twice seed 0; leave one of them out"),
    ],
)
def test_revisions_that_are_no_suite(text: str, message: str, server: "LoopbackHub", tmp_path: Path) -> None:
    server.repositories["a/tiny"] = {key: {} for key in ("main", "v1")}
    server.repositories["a/twice"] = {key: {} for key in ("step5", "checkpoint-5")}
    with pytest.raises(SaltusError, match=message):
        open_hub(server, tmp_path, text)


def test_a_revision_never_leads_out_of_the_cache(server: "LoopbackHub", tmp_path: Path) -> None:
    bad = ("../../step1", "/step2", ".step3", "step4.partial", "step5.lock", "a/../step6")
    server.repositories["a/tiny"] = {key: {"config.json": b"{}", "model.safetensors": b"x"} for key in bad}
    suite = open_hub(server, tmp_path / "cache", "a/tiny")
    assert [list(suite.steps(run)) for run in suite.runs()] == [[6]]
    folder = suite.fetch(suite.runs()[0], 6)
    assert folder.parent == tmp_path / "cache" / "a--tiny"


# --- folders -----------------------------------------------------------------------------------------------------


def test_a_trainers_folder_one_run_and_any_tree(checkpoints: list[Path], tmp_path: Path) -> None:
    places = {
        "trainer/checkpoint-{}": ("folder:{}/trainer", "trainer"),
        "alone/step{}": ("folder:{}/alone", "alone"),
        "tree/wide-seed3/at_{}/hf": ("folder:{}/tree/{{group}}-seed{{seed}}/at_{{step}}/hf", "wide"),
    }
    for layout, (name, size) in places.items():
        for step, folder in zip((5, 10, 20), checkpoints[:3], strict=True):
            shutil.copytree(folder, tmp_path / layout.format(step))
        suite, seed = open_suite(name.format(tmp_path)), "3" if size == "wide" else "0"
        assert list_measured(scan(suite, tmp_path / "out")) == [(size, seed, step) for step in (5, 10, 20)]


def write_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(10))
    return folder


def test_a_tree_by_a_pattern(tmp_path: Path) -> None:
    for name in ("a/s1/0010_2M", "a/s1/0005_1M", "b/s2/0005_1M", "a/.s9/0005_1M", "a/s1/0007_1M.partial"):
        write_checkpoint(tmp_path / "runs [1]" / name)
    suite = open_suite(f"folder:{tmp_path}/runs [1]/{{group}}/s{{seed}}/{{step}}_{{tokens}}")
    assert {run: list(suite.steps(run)) for run in suite.runs()} == {Run("a", "1"): [5, 10], Run("b", "2"): [5]}
    assert count_tokens(suite, Run("a", "1"), 10) == 2_000_000
    deep = open_suite(f"folder:{tmp_path}/**/s1/{{step}}_*")
    assert [(run, list(deep.steps(run))) for run in deep.runs()] == [(Run(tmp_path.name, "0"), [5, 10])]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{group}/{seed}", "it names {step}"),
        ("{group}/{steps}", "it names {step}"),
        ("none/step{step}", "there is no folder|no folder in"),
        ("{group}/x{step}", "no folder in .* fits {group}/x{step}"),
        ("{group}/{step}", "99999999999 is no step"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a" / "99999999999")
    with pytest.raises(SaltusError, match=message):
        open_suite(f"folder:{tmp_path}/{pattern}")


def test_links_are_allowed_by_a_word(checkpoints: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "suite" / "tiny" / "0"
    root.mkdir(parents=True)
    (root / "step1").symlink_to(checkpoints[0])
    (root / "step2").mkdir()
    for path in checkpoints[1].iterdir():
        (root / "step2" / path.name).symlink_to(path)
    with pytest.raises(SaltusError, match=r"step1 leads out of .*, or allow that with --links"):
        open_suite(f"folder:{tmp_path / 'suite'}")
    suite = open_suite(f"folder:{tmp_path / 'suite'}", links=True)
    assert list_measured(scan(suite, tmp_path / "out")) == [("tiny", "0", 1), ("tiny", "0", 2)]


def test_one_tokenizer_for_all(checkpoints: list[Path], tmp_path: Path) -> None:
    root, other = tmp_path / "run", tmp_path / "tokenizer"
    for step, folder in enumerate(checkpoints[:2]):
        shutil.copytree(folder, root / f"step{step}", ignore=shutil.ignore_patterns("*token*"))
    make_word_tokenizer().save_pretrained(other)
    suite = open_suite(f"folder:{root}")
    with pytest.raises(SaltusError, match="holds no tokenizer"):
        scan(suite, tmp_path / "out")
    with pytest.raises(SaltusError, match=r"tokenizer: .*run holds none .* give the folder of its files"):
        scan(suite, tmp_path / "out", str(root))
    assert list_measured(scan(suite, tmp_path / "out", str(other))) == [("run", "0", 0), ("run", "0", 1)]


# --- manifests ---------------------------------------------------------------------------------------------------


def write_manifest(root: Path, checkpoints: list[Path]) -> Path:
    """Two families: one here, with tokens, the other one linked to from elsewhere."""
    root.mkdir()
    rows = ["group,seed,step,path,revision,tokens"]
    for step, near, far in zip((1, 2, 4), checkpoints[:3], checkpoints[3:], strict=True):
        shutil.copytree(near, root / f"near/{step}")
        (root / f"far{step}").symlink_to(far)
        rows += [f"near,0,{step},near/{step},,{step}K", f"far,seed1,{step},far{step},,"]
    path = root / "mine.csv"
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    return path


def test_a_manifest_of_two_families_is_scanned_audited_and_reported(
    checkpoints: list[Path], saltus: Saltus, tmp_path: Path
) -> None:
    name, out = f"manifest:{write_manifest(tmp_path / 'suite', checkpoints)}", tmp_path / "out"
    code, _, errors = saltus("audit", name, "--out", out)
    assert (code, "far1 leads out of" in errors) == (2, True)
    code, said, _ = saltus("audit", name, "--links", "--out", out)
    assert (code, "0 faults in 6 checkpoints" in said) == (0, True), said
    asked = ("scan", name, "--links", "--capability", "copying", "--strategy", "grid", "--out", out)
    code, said, errors = saltus(*asked)
    assert code == 0, errors
    assert all(text in " ".join(said.split()) for text in ("6 of 6 checkpoints measured", "tokens seen", "> 4K"))
    scanned, audited = api.ls(out)
    records = scanned.records()
    assert isinstance(records, ScanRecords)
    assert {*list_measured(records)} == {(*run, s) for run in (("near", "0"), ("far", "1")) for s in (1, 2, 4)}
    assert records.tokens == {("near", "0", step): step * 1000 for step in (1, 2, 4)}
    assert saltus("report", scanned.path, audited.path, "--to", tmp_path / "all.html")[0] == 0
    page = (tmp_path / "all.html").read_text()
    assert all(text in page for text in ("When did it emerge?", "tokens_with", "near", "far"))


def test_a_manifest_in_toml_names_revisions(server: "LoopbackHub", checkpoints: list[Path], tmp_path: Path) -> None:
    server.repositories["a/tiny"] = {"any name": {}, "late": read_files(checkpoints[1])}
    shutil.copytree(checkpoints[0], tmp_path / "early")
    text = '[[checkpoint]]\ngroup = "t"\nstep = 0\npath = "early"\n'
    text += '[[checkpoint]]\ngroup = "t"\nstep = 9\nrevision = "a/tiny@late"\ntokens = 77\n'
    (tmp_path / "m.toml").write_text(text)
    suite = open_suite(f"manifest:{tmp_path / 'm.toml'}", cache=tmp_path / "cache", endpoint=server.endpoint)
    records = scan(suite, tmp_path / "out")
    assert list_measured(records) == [("t", "0", 0), ("t", "0", 9)]
    assert records.tokens == {("t", "0", 9): 77}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "group,step,file\na,1,b\n", "m.csv: there is no column 'file'; allowed are group, seed, step, path"),
        ("m.csv", "group,step,path\na,1\n", "m.csv:2: path is '' and revision ''; give exactly one"),
        ("m.csv", "group,step,path\na,1,b,c\n", "m.csv:2: there are more values than columns"),
        ("m.csv", "group,step,path\na,one,b\n", "m.csv:2: 'one' is no step"),
        ("m.csv", "group,step,path\na,1,../b\n", "leads out of"),
        ("m.csv", "group,step,path\n../a,1,b\n", "'../a' in .*m.csv:2 is no label"),
        ("m.csv", "group,step,path\n\na,1,b\na,1,c\n", "b and .*c are both step 1 of a seed 0"),
        ("m.csv", "group,step,path,tokens\na,1,b,many\n", "m.csv:2: tokens is 'many'; write a number"),
        ("m.csv", "group,step,revision\na,1,a/b\n", "m.csv:2: revision is 'a/b'; write it as OWNER/NAME@REVISION"),
        ("m.csv", "group,step,revision\na,1,a/b@..\n", "revision is 'a/b@..'; write it as"),
        ("m.csv", "group,step,revision\na,1,../..@x\n", "is no repository"),
        ("m.csv", "group,step,path\n", "names no checkpoint; give it a row for each"),
        ("m.csv", "\xff", "cannot be read"),
        ("m.toml", "[checkpoint", "cannot be read"),
        ("m.toml", "checkpoints = 1", "holds checkpoints; write each checkpoint below a line"),
        ("m.toml", "checkpoint = [1]", "has a checkpoint that is no table"),
        ("m.toml", "[[checkpoint]]\ncolour = 1", "m.toml, checkpoint 1: there is no column 'colour'"),
        ("m.json", "{}", r"is no manifest; give a file that ends in \.csv or \.toml"),
    ],
)
def test_manifests_that_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(SaltusError, match=message):
        open_suite(f"manifest:{tmp_path / name}")


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match=r"none\.csv cannot be read \(.*No such file"):
        open_suite(f"manifest:{tmp_path / 'none.csv'}")


# --- a suite of one's own ----------------------------------------------------------------------------------------


def test_the_suite_of_the_page_is_scanned_and_audited(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/language-models.md runs as it stands."""
    page = (Path(__file__).parents[3] / "docs" / "language-models.md").read_text()
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Backups" in code)
    for step, folder in zip((100, 200, 400), checkpoints[:3], strict=True):
        shutil.make_archive(str(tmp_path / "backups" / f"tiny.1.{step}"), "zip", folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    records = names["found"].records()
    assert list_measured(records) == [("tiny", "1", step) for step in (100, 200, 400)]
    assert records.tokens == {("tiny", "1", step): step * 2048 for step in (100, 200, 400)}
    assert names["audited"].records().faults == 0
