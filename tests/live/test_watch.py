"""The live page's server, and the folders as it sees them."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.monitor.test_monitor import Known, watch_known
from tests.report.visit import ARGUMENTS, CHROMIUM, MARKS

from saltus import api
from saltus.api.shelves import FolderShelf
from saltus.errors import SaltusError
from saltus.live.server import Server, Watch, open_socket
from saltus.live.shelf import Glimpse, Shelf
from saltus.lm.pocket.folder import PocketFolder
from saltus.lm.suites.base import Run
from saltus.monitor.folder import MonitorFolder
from saltus.report.html.blocks import Section, Table
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]
Ask = Callable[..., tuple[int, str]]


@contextmanager
def serving(shelf: Shelf) -> Generator[int, None, None]:
    """The port of a server in a thread, which looks often."""
    listener = open_socket(0)
    server = Server(shelf, every=0.05)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(5.0)
    listener.close()


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """A request to the live page of the folders in `tmp_path`: status and text."""
    with serving(FolderShelf([tmp_path])) as port:

        def request(path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request(method, path, headers={"Host": host})
            answer = connection.getresponse()
            text = answer.read(1 if path == "/events" else None).decode()
            connection.close()
            return answer.status, text

        yield request


@contextmanager
def read_lists(port: int) -> Generator[Callable[[], dict[str, dict[str, Any]]], None, None]:
    """The next list that the server sends, by the names of the folders."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/events")
    answer = connection.getresponse()

    def read() -> dict[str, dict[str, Any]]:
        while not (line := answer.readline().decode()).startswith("data: "):
            assert line, "the server ended the stream"
        return {folder["name"]: folder for folder in json.loads(line.removeprefix("data: "))}

    yield read
    answer.close()
    connection.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "saltus.localhost.example:80", ""]
)
def test_another_hosts_name_is_refused(ask: Ask, host: str) -> None:
    assert [ask(path, host)[0] for path in ("/", "/live.js", "/sections/x", "/events")] == [400] * 4


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8642"])
def test_own_names_are_answered(ask: Ask, host: str) -> None:
    assert [ask(path, host)[0] for path in ("/", "/plotly.js", "/live.js", "/events")] == [200] * 4


def test_nothing_can_be_changed_and_nothing_else_be_read(ask: Ask) -> None:
    assert [ask("/", method=method)[0] for method in ("POST", "PUT", "DELETE")] == [405] * 3
    assert ask("/sections/..%2f..%2fetc")[0] == 404
    assert ask("/sections/0123456789abcdef") == (404, '{"error":"there is no such folder any more"}')
    assert ask("/etc/passwd")[0] == 404


def test_it_listens_on_this_machine_alone() -> None:
    with open_socket(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_and_a_file_are_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SaltusError, match=f"port: {port} cannot be listened on .*; give another one, or 0 for any"):
            api.watch([tmp_path], port=port)
    (tmp_path / "file").touch()
    with pytest.raises(SaltusError, match="file is a file; give the folder of a training, or one that holds several"):
        api.watch([tmp_path / "file"])


def test_what_changes_is_told_and_what_does_not_is_not(finished: RunFolder, tmp_path: Path) -> None:
    model, monitor = Known(), watch_known(tmp_path / "mine")
    monitor.step(0, model)
    shelf = FolderShelf([tmp_path, finished.path])
    with serving(shelf) as port, read_lists(port) as read:
        first = read()
        assert first.keys() == {"mine", finished.path.name}
        assert (first[finished.path.name]["state"], first[finished.path.name]["done"]) == ("finished", 1.0)
        monitor.step(5, model)
        second = read()
        assert second["mine"]["version"] != first["mine"]["version"]
        assert second[finished.path.name] == first[finished.path.name]
    monitor.close()


def watch_once(path: Path) -> None:
    """A training of one probe."""
    with_probe = watch_known(path)
    with_probe.step(0, Known())
    with_probe.close()


def test_a_folder_that_appears_later_is_listed_and_one_that_goes_is_not(tmp_path: Path) -> None:
    shelf = FolderShelf([tmp_path / "later"])
    assert shelf.look() == []
    watch_once(tmp_path / "later" / "mine")
    (glimpse,) = shelf.look()
    assert (glimpse.name, glimpse.kind) == ("mine", "monitored training")
    assert len(shelf.describe(glimpse.key)) == 1
    (tmp_path / "later" / "mine").rename(tmp_path / "elsewhere")
    assert shelf.look() == []
    with pytest.raises(KeyError):
        shelf.describe(glimpse.key)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"group": {}}'])
def test_what_cannot_be_read_is_a_sentence_on_the_page(content: str, tmp_path: Path) -> None:
    watch_once(tmp_path / "mine")
    watch_once(tmp_path / "broken")
    (tmp_path / "broken" / "monitor.json").write_text(content)
    shelf = FolderShelf([tmp_path])
    states = {glimpse.name: glimpse for glimpse in shelf.look()}
    assert states["broken"].state.startswith("cannot be read: ")
    (section,) = shelf.describe(states["broken"].key)
    assert section.headline == "Nothing can be shown yet."
    (section,) = shelf.describe(states["mine"].key)  # whose group the broken one may have
    assert section.essence.startswith("monitored training")


def refuse_to_read(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As if the files in `folder` were another user's; the tests may be run by root, who reads everything."""
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


def test_lines_of_another_user_are_left_out_alone(
    saltus: Saltus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "theirs"):
        monitor = watch_known(tmp_path / name, group="both")
        monitor.step(0, Known())
        monitor.close()
        (tmp_path / name / "finished.json").unlink()
    refuse_to_read(monkeypatch, tmp_path / "theirs")
    shelf = FolderShelf([tmp_path])
    glimpses = {glimpse.name: glimpse for glimpse in shelf.look()}
    assert glimpses["mine"].state == "at step 0"
    assert "rows.jsonl cannot be read" in glimpses["theirs"].state
    assert shelf.describe(glimpses["mine"].key)[0].essence.startswith("monitored training")
    assert "rows.jsonl cannot be read" in str(shelf.describe(glimpses["theirs"].key)[0].blocks)
    shelf.look()
    monkeypatch.undo()
    assert {glimpse.name: glimpse.state for glimpse in shelf.look()}["theirs"] == "at step 0"
    refuse_to_read(monkeypatch, tmp_path / "theirs")
    code, out, _ = saltus("ls", "--out", tmp_path)
    assert (code, "cannot be read" in out) == (0, True)
    code, _, error = saltus("show", tmp_path / "theirs")
    assert (code, "rows.jsonl cannot be read" in error) == (2, True)


def test_a_folder_that_a_disk_hides_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything that is asked of it may raise, such as whether it is held."""
    watch_once(tmp_path / "mine")
    watch_once(tmp_path / "theirs")

    def is_held(folder: MonitorFolder) -> bool:
        if folder.path.name == "theirs":
            raise PermissionError(13, "Permission denied", str(folder.path))
        return folder.path.name == "none"

    monkeypatch.setattr(MonitorFolder, "held", property(is_held))
    shelf = FolderShelf([tmp_path])
    states = {glimpse.name: glimpse.state for glimpse in shelf.look()}
    assert states["mine"] == "finished"
    assert states["theirs"].startswith("cannot be read: ")


def test_a_run_says_how_much_is_left(finished: RunFolder, tmp_path: Path) -> None:
    """Checkpoints at steps 10 and 30 of 40, are a second a step: ten are left while it is held."""
    path = tmp_path / finished.path.name
    path.mkdir()
    for name in ("spec.json", "task.safetensors"):
        (path / name).write_bytes((finished.path / name).read_bytes())
    for step, at in ((10, 1_000), (30, 1_020)):
        (path / "checkpoints" / f"{step:08d}").mkdir(parents=True)
        os.utime(path / "checkpoints" / f"{step:08d}", (at, at))
    shelf = FolderShelf([tmp_path])
    with RunFolder(path).writing(finished.spec()):
        (held,) = shelf.look()
    assert (held.done, held.left) == (0.75, 10.0)
    (dead,) = shelf.look()
    assert (dead.done, dead.left) == (0.75, None)


def test_a_pocket_suite_says_how_far_its_models_are(saltus: Saltus, tmp_path: Path) -> None:
    """Of two models one has both of its checkpoints after step 0, the other has the first: half of the way and all."""
    spec = PocketSpec(
        name="tiny",
        models=(PocketModelSpec(name="small", layers=1, d_model=8, heads=2),),
        seeds=2,
        corpus=PeriodicCorpusSpec(),
        steps=60,
        every=30,
    )
    folder = PocketFolder(tmp_path / spec.identify("tiny"))
    shelf = FolderShelf([tmp_path])
    with folder.writing(spec):
        (begun,) = shelf.look()
        assert (begun.kind, begun.state, begun.done) == ("pocket suite", "being written", 0.0)
        for seed, steps in (("0", (0, 30, 60)), ("1", (0, 30))):
            for step in steps:
                folder.run(Run("small", seed)).checkpoint(step).mkdir(parents=True)
        (glimpse,) = shelf.look()
    assert (glimpse.done, glimpse.what) == (0.75, "1 of 2 models are trained, 75% of all steps")
    assert glimpse.version != begun.version
    (section,) = shelf.describe(glimpse.key)
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [row.cells for row in table.rows] == [("small", "0", 60, 60), ("small", "1", 30, 60)]
    code, out, _ = saltus("show", folder.path)
    assert (code, "small │ 1    │ 30                │ 60" in out) == (0, True), out


def start(path: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "saltus", "watch", str(path), "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    assert server.stderr.readline() == f"watch: http://127.0.0.1:{port}/\n"
    return server


def find_port() -> int:
    with open_socket(0) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("marked", [pytest.param(None, marks=MARKS)])
def test_a_capability_appears_in_a_page_that_was_open_before_the_training(marked: None, tmp_path: Path) -> None:
    """And a server that is killed loses nothing: the page says so, and goes on with the next one."""
    del marked
    api_of_browser = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    hostile = "<img src=x onerror=document.title='taken'>"
    port, problems = find_port(), list[str]()
    server = start(tmp_path, port)

    def complain(what: object) -> None:
        problems.append(str(what))

    with api_of_browser.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark").new_page()
        for kind in ("pageerror", "dialog"):
            page.on(kind, complain)
        page.goto(f"http://127.0.0.1:{port}/")
        wait(page, lambda: "Nothing yet" in page.inner_text("#line"))
        page.locator("h1").evaluate("heading => { heading.dataset.same = 'yes'; }")
        model, monitor = Known(), watch_known(tmp_path / "mine", group=hostile)
        for step in range(0, 40, 5):
            monitor.step(step, model)
        wait(page, lambda: "mine" in page.inner_text("#folders"))
        wait(page, lambda: page.locator("section").count() == 1)
        assert "(40, 45]" not in page.inner_text("#shown")
        model.right = 1.0
        for step in range(45, 60, 5):
            monitor.step(step, model)
        wait(page, lambda: "45" in page.inner_text("#shown .lead"))
        server.kill()
        server.communicate()
        wait(page, lambda: "does not answer" in page.inner_text("#line"))
        monitor.step(60, model)
        monitor.close()
        server = start(tmp_path, port)
        wait(page, lambda: "finished" in page.inner_text("#folders"))
        assert page.locator("h1").get_attribute("data-same") == "yes"  # it was never loaded again
        assert page.title() == "saltus watch"
        assert hostile in page.inner_text("#shown h2")
        width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] <= width[1]
        browser.close()
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=20.0)
    assert problems == []


def wait(page: object, reached: Callable[[], bool]) -> None:
    """Until something is there; the page is not asked to evaluate text, which its policy forbids."""
    deadline = time.monotonic() + 30.0
    while not reached():
        assert time.monotonic() < deadline, "what was waited for did not happen within 30 seconds"
        page.wait_for_timeout(50)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def test_a_study_can_be_watched_while_it_is_trained(saltus: Saltus, tmp_path: Path) -> None:
    """`--watch` serves from a process of its own, which ends with the command."""
    told: list[str] = []
    with api.watch_beside([tmp_path], port=0, tell=told.append):
        port = int(told[0].removesuffix("/").rpartition(":")[2])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/", headers={"Host": "localhost"})
            assert connection.getresponse().status == 200
    with (
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection,
        pytest.raises(ConnectionRefusedError),
    ):
        connection.request("GET", "/")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(SaltusError, match="cannot be listened on"),
            api.watch_beside([tmp_path], port=taken.getsockname()[1], tell=told.append),
        ):
            pass
    assert "--watch" in saltus("run", "--help")[1]
    assert "--watch" in saltus("scan", "--help")[1]
    assert "--watch" in saltus("pocket", "--help")[1]


class Away:
    """A shelf that cannot be looked at for a while, since its disk is away or for a reason that nobody thought of."""

    def __init__(self, error: Exception) -> None:
        self.looks, self.error = 0, error

    def look(self) -> list[Glimpse]:
        self.looks += 1
        if self.looks == 2:
            raise self.error
        return [Glimpse("k", f"look {min(self.looks, 3)}", "run", "", "", str(self.looks))]

    def describe(self, key: str) -> list[Section]:
        raise KeyError(key)


@pytest.mark.parametrize("error", [OSError("the disk is away"), RecursionError()], ids=["disk", "damage"])
def test_a_look_that_fails_is_not_the_last(error: Exception) -> None:
    with serving(Away(error)) as port, read_lists(port) as read:
        assert read().keys() == {"look 1"}
        assert read().keys() == {"look 3"}


class Restless:
    """A shelf on which something has changed whenever it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> list[Glimpse]:
        self.looks += 1
        return [Glimpse("k", "mine", "run", "", "", str(self.looks))]

    def describe(self, key: str) -> list[Section]:
        raise KeyError(key)


def test_a_page_that_takes_nothing_stops_no_other() -> None:
    """The server waits in the middle of what it sends to one page; the other is still told what is new."""

    async def follow() -> list[str]:
        watch = Watch(Restless(), every=0.0)
        stalled, other = watch.follow(), watch.follow()
        await anext(stalled)
        told = [await asyncio.wait_for(anext(other), 20.0) for _ in range(3)]
        await asyncio.wait_for(watch.close(), 20.0)
        return told

    told = asyncio.run(follow())
    assert len(set(told)) == 3
    assert all(text.startswith("event: list") for text in told)


def test_an_error_of_what_is_done_beside_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(EOFError, match="of the training"), api.watch_beside([tmp_path], port=0, tell=str):
        raise EOFError("of the training")
