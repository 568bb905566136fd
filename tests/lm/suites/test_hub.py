"""The real client against a small hub on the loopback interface."""

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint, Run, UnreachableCheckpoint
from saltus.lm.suites.build import open_suite
from saltus.lm.suites.hub import Hub
from saltus.lm.suites.prefetch import Prefetcher

if TYPE_CHECKING:
    from conftest import LoopbackHub

REPOSITORY = "somebody/model"
WEIGHTS = "model.safetensors"
KEPT = {"config.json", "tokenizer.json", "vocab.txt", WEIGHTS}

Open = Callable[..., Hub]


def make_files(step: int, size: int = 5000) -> dict[str, bytes]:
    """A revision, with files that must never be fetched."""
    return {
        "config.json": json.dumps({"step": step}).encode(),
        "tokenizer.json": b"{}",
        "vocab.txt": b"[UNK]\n",
        WEIGHTS: bytes((i * step) % 251 for i in range(size)),
        "pytorch_model.bin": b"pickled",
        "modeling_own.py": b"raise SystemExit",
        "README.md": b"words",
        "optimizer.safetensors": b"large",
    }


@pytest.fixture
def server(server: "LoopbackHub") -> "LoopbackHub":
    server.repositories[REPOSITORY] = {f"step{step}": make_files(step) for step in (1, 2, 3, 4)}
    return server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def open_hub(server: "LoopbackHub", tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> Open:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "users own cache"))

    def build(**options: object) -> Hub:
        defaults = {"endpoint": server.endpoint, "attempts": 3, "sleep": slept.append}
        return Hub(tmp_path / "cache", **{**defaults, **options})  # pyright: ignore[reportArgumentType]

    return build


def list_folders(hub: Hub) -> set[str]:
    return {path.name for path in hub.folder.glob("*/*") if path.is_dir()}


def test_a_revision_is_fetched_once_without_code_or_pickles(
    server: "LoopbackHub", open_hub: Open, tmp_path: Path
) -> None:
    hub = open_hub()
    folder = hub.fetch(REPOSITORY, "step2")
    assert {path.name for path in folder.iterdir()} == KEPT | {"manifest.json"}
    for name in KEPT:
        assert (folder / name).read_bytes() == server.repositories[REPOSITORY]["step2"][name]
    assert not [request for request in server.requests if any(n in request for n in (".bin", ".py", ".md", "optim"))]
    asked = len(server.requests)
    assert hub.fetch(REPOSITORY, "step2") == folder
    assert open_hub(offline=True).fetch(REPOSITORY, "step2") == folder
    assert len(server.requests) == asked
    assert hub.list_cached(REPOSITORY) == ["step2"]
    assert not (tmp_path / "users own cache").exists()


def test_nothing_is_taken_from_the_users_own_cache(open_hub: Open, tmp_path: Path) -> None:
    commit = hashlib.sha1(f"{REPOSITORY} step1".encode()).hexdigest()
    snapshot = tmp_path / "users own cache" / "models--somebody--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"step": 9}')  # as long as the right one
    assert (open_hub().fetch(REPOSITORY, "step1") / "config.json").read_bytes() == make_files(1)["config.json"]


def test_shards_are_fetched(server: "LoopbackHub", open_hub: Open) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 100 for n in (1, 2)}
    index = {"model.safetensors.index.json": b"{}"}
    server.repositories[REPOSITORY]["main"] = {"config.json": b"{}", **shards, **index}
    folder = open_hub().fetch(REPOSITORY, "main")
    assert {path.name for path in folder.iterdir()} == {"config.json", "manifest.json", *shards, *index}


@pytest.mark.parametrize(
    ("repository", "revision", "message"),
    [
        (REPOSITORY, "step5", "the hub has no somebody/model at step5"),
        ("somebody/nothing", "step1", "the hub has no somebody/nothing at step1"),
        (REPOSITORY, "pickled", "holds no safetensors weights"),
        (REPOSITORY, "bare", "holds no config.json"),
    ],
)
def test_what_is_not_there_is_missing(
    server: "LoopbackHub", open_hub: Open, slept: list[float], repository: str, revision: str, message: str
) -> None:
    files = make_files(1)
    server.repositories[REPOSITORY]["pickled"] = {name: files[name] for name in ("config.json", "pytorch_model.bin")}
    server.repositories[REPOSITORY]["bare"] = {WEIGHTS: files[WEIGHTS]}
    hub = open_hub()
    with pytest.raises(MissingCheckpoint, match=message):
        hub.fetch(repository, revision)
    assert (slept, server.waited, list_folders(hub)) == ([], [], set())


@pytest.mark.parametrize(
    ("status", "headers"), [(401, {}), (403, {"X-Error-Code": "GatedRepo"}), (401, {"X-Error-Code": "RepoNotFound"})]
)
def test_what_may_not_be_read_ends_the_scan(
    server: "LoopbackHub", open_hub: Open, slept: list[float], status: int, headers: dict[str, str]
) -> None:
    server.refused[REPOSITORY] = (status, headers)
    with pytest.raises(SaltusError, match=rf"refuses somebody/model \({status}\).*hf auth login") as caught:
        open_hub().fetch(REPOSITORY, "step1")
    assert not isinstance(caught.value, MissingCheckpoint)
    assert slept == []


def test_the_hub_is_obeyed_about_how_long_to_wait(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    server.fail("GET /api", 429, Retry_After="7")
    server.fail("GET /api", 503)
    open_hub().fetch(REPOSITORY, "step1")
    assert slept == [7.0, 2.0]


def test_no_wait_is_longer_than_a_quarter_of_an_hour(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    server.fail("GET /api", 429, Retry_After="1000000")
    open_hub().fetch(REPOSITORY, "step1")
    assert slept == [900.0]


@pytest.mark.parametrize("where", ["HEAD", "GET /storage"])
def test_a_hub_that_stumbles_over_a_file_is_asked_again(server: "LoopbackHub", open_hub: Open, where: str) -> None:
    server.fail(where, 503, times=2)
    folder = open_hub().fetch(REPOSITORY, "step1")
    assert (folder / WEIGHTS).read_bytes() == make_files(1)[WEIGHTS]


def test_a_broken_hub_ends_the_scan(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    hub = open_hub()
    hub.fetch(REPOSITORY, "step1")
    server.fail("/api", 500, times=100)
    with pytest.raises(SaltusError, match=r"in 3 attempts.*resumes.*1 checkpoints are cached \(step1\)") as caught:
        hub.fetch(REPOSITORY, "step2")
    assert not isinstance(caught.value, MissingCheckpoint)
    assert slept == [1.0, 2.0]


def test_a_download_that_breaks_off_is_resumed(
    server: "LoopbackHub", open_hub: Open, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    server.fail("GET /storage", "cut")
    folder = open_hub().fetch(REPOSITORY, "step1")
    assert (folder / WEIGHTS).read_bytes() == make_files(1)[WEIGHTS]
    first, second = server.asked("GET /storage")
    assert "bytes=" not in first
    assert second.endswith("bytes=2000-")
    assert slept == []


def test_a_file_cut_short_is_fetched_again(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    server.fail("GET /storage", "short")
    folder = open_hub().fetch(REPOSITORY, "step1")
    assert (folder / WEIGHTS).read_bytes() == make_files(1)[WEIGHTS]
    assert slept == [1.0]


def test_a_file_always_cut_short_says_nothing_of_the_suite(server: "LoopbackHub", open_hub: Open) -> None:
    server.fail("GET /storage", "short", times=100)
    hub = open_hub()
    with pytest.raises(SaltusError, match=r"model.safetensors of somebody/model") as caught:
        hub.fetch(REPOSITORY, "step1")
    assert not isinstance(caught.value, MissingCheckpoint)
    assert list_folders(hub) == set()


def test_a_small_file_cut_short_is_fetched_again(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    server.fail("/resolve/", "short", times=2)  # of HEAD and GET alike: only the announced size tells
    folder = open_hub().fetch(REPOSITORY, "step1")
    assert (folder / "config.json").read_bytes() == make_files(1)["config.json"]
    assert slept == [1.0]


def test_a_wrong_hash_is_fetched_again(server: "LoopbackHub", open_hub: Open, slept: list[float]) -> None:
    server.fail("GET /storage", "corrupt")
    folder = open_hub().fetch(REPOSITORY, "step1")
    assert (folder / WEIGHTS).read_bytes() == make_files(1)[WEIGHTS]
    assert (len(server.asked("GET /storage")), slept) == (2, [1.0])


def test_a_hash_that_stays_wrong_is_a_missing_checkpoint(server: "LoopbackHub", open_hub: Open) -> None:
    server.fail("GET /storage", "corrupt", times=100)
    hub = open_hub()
    with pytest.raises(MissingCheckpoint, match="differed from what the hub announced in each of 3 downloads"):
        hub.fetch(REPOSITORY, "step1")
    assert len(server.asked("GET /storage")) == 3
    assert list_folders(hub) == set()


def test_without_a_network_the_scan_ends_and_can_be_resumed(open_hub: Open, slept: list[float]) -> None:
    with pytest.raises(SaltusError, match=r"check the network.*resumes.*0 checkpoints are cached") as caught:
        open_hub(endpoint="http://127.0.0.1:9").fetch(REPOSITORY, "step1")
    assert not isinstance(caught.value, MissingCheckpoint)
    assert slept == [1.0, 2.0]


def test_a_full_disk_is_not_taken_for_the_network(
    open_hub: Open, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    hub = open_hub()
    with pytest.raises(SaltusError, match=r"cannot be written .*No space left on device.*free space"):
        hub.fetch(REPOSITORY, "step1")
    assert (slept, list_folders(hub)) == ([], set())


def test_offline_nothing_is_asked(server: "LoopbackHub", open_hub: Open) -> None:
    open_hub().fetch(REPOSITORY, "step1")
    asked = len(server.requests)
    hub = open_hub(offline=True)
    assert hub.fetch(REPOSITORY, "step1").is_dir()
    with pytest.raises(SaltusError, match=r"step2 is not in .*go online.*\(step1\)") as caught:
        hub.fetch(REPOSITORY, "step2")
    assert isinstance(caught.value, UnreachableCheckpoint)  # it says nothing of the suite
    assert len(server.requests) == asked


def test_the_clients_own_offline_mode_is_explained(open_hub: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SaltusError, match="unset HF_HUB_OFFLINE"):
        open_hub().fetch(REPOSITORY, "step1")


def test_a_copy_that_was_damaged_is_fetched_again(open_hub: Open) -> None:
    hub = open_hub()
    weights = hub.fetch(REPOSITORY, "step1") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(SaltusError, match="damaged"):
        open_hub(offline=True).fetch(REPOSITORY, "step1")
    hub.fetch(REPOSITORY, "step1")
    assert weights.read_bytes() == make_files(1)[WEIGHTS]


def test_what_a_killed_fetch_left_is_not_taken_for_a_checkpoint(open_hub: Open) -> None:
    hub = open_hub()
    partial = hub.folder / "somebody--model" / "step1.partial"
    partial.mkdir(parents=True)
    (partial / WEIGHTS).write_bytes(b"half")
    assert hub.list_cached(REPOSITORY) == []
    assert (hub.fetch(REPOSITORY, "step1") / WEIGHTS).read_bytes() == make_files(1)[WEIGHTS]
    assert list_folders(hub) == {"step1"}


def test_the_least_recently_fetched_are_dropped(open_hub: Open) -> None:
    measured = open_hub().fetch(REPOSITORY, "step1")
    size = sum(path.stat().st_size for path in measured.iterdir())
    hub = open_hub(disk_bytes=3 * size + 100)
    for step in (1, 2, 3):
        hub.fetch(REPOSITORY, f"step{step}")
    hub.fetch(REPOSITORY, "step1")
    hub.fetch(REPOSITORY, "step3")
    assert list_folders(hub) == {"step1", "step2", "step3"}
    hub.fetch(REPOSITORY, "step4")
    assert list_folders(hub) == {"step1", "step3", "step4"}


def test_the_budget_never_drops_what_is_in_use_or_next(open_hub: Open) -> None:
    size = sum(path.stat().st_size for path in open_hub().fetch(REPOSITORY, "step4").iterdir())
    hub = open_hub(disk_bytes=2 * size + 100)
    run = Run("any", "0")

    class Fetcher:
        name = "any"

        def runs(self) -> list[Run]:
            return [run]

        def steps(self, run: Run) -> list[int]:
            return [1, 2, 3, 4]

        def fetch(self, run: Run, step: int) -> Path:
            return hub.fetch(REPOSITORY, f"step{step}")

    with Prefetcher(Fetcher()) as prefetcher:
        for step, following in ((1, 2), (2, 3), (4, 1), (1, 2)):  # 3 was fetched in vain
            folder = prefetcher.get(run, step, (run, following))
            prefetcher.close()
            assert folder.is_dir()
            assert list_folders(hub) == {f"step{step}", f"step{following}"}


def test_a_budget_too_small_for_two_keeps_the_one_in_use(open_hub: Open) -> None:
    size = sum(path.stat().st_size for path in open_hub().fetch(REPOSITORY, "step1").iterdir())
    hub = open_hub(disk_bytes=size + 100)
    hub.fetch(REPOSITORY, "step1")
    with pytest.raises(SaltusError, match=rf"beside the {size:,} of checkpoints in use"):
        hub.fetch(REPOSITORY, "step2")
    assert list_folders(hub) == {"step1"}


def test_what_another_process_uses_is_not_dropped(open_hub: Open) -> None:
    other = open_hub()
    used = other.fetch(REPOSITORY, "step1")
    size = sum(path.stat().st_size for path in used.iterdir())
    with pytest.raises(SaltusError, match=f"disk budget is {size + 100:,} bytes.*allow at least"):
        open_hub(disk_bytes=size + 100).fetch(REPOSITORY, "step2")
    assert used.is_dir()


def test_a_budget_too_small_for_one_drops_nothing(open_hub: Open) -> None:
    open_hub().fetch(REPOSITORY, "step1")
    hub = open_hub(disk_bytes=100)
    with pytest.raises(SaltusError, match="disk budget is 100 bytes"):
        hub.fetch(REPOSITORY, "step2")
    assert list_folders(hub) == {"step1"}


def test_a_suite_of_the_hub_gives_models_that_load(server: "LoopbackHub", tmp_path: Path) -> None:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from saltus.lm.suites.load import load_model

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=16
    )
    model = GPTNeoXForCausalLM(config)
    model.save_pretrained(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    server.repositories["EleutherAI/pythia-160m-data-seed2"] = {"step512": files}
    suite = open_suite("polypythias", cache=tmp_path / "cache", endpoint=server.endpoint)
    folder = suite.fetch(Run("160m", "data-2"), 512)
    loaded = load_model(folder, "float32", torch.device("cpu")).model.state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[name], weights) for name, weights in model.state_dict().items())
    with pytest.raises(MissingCheckpoint, match="the hub has no EleutherAI/pythia-160m-data-seed2 at step1000"):
        suite.fetch(Run("160m", "data-2"), 1000)
