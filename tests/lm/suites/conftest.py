"""A small hub on the loopback interface that answers the real client as the real hub does, and fails on demand."""

import hashlib
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest

Files = Mapping[str, bytes]


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose `METHOD path` contains `where`."""

    where: str
    kind: Literal["cut", "short", "corrupt"] | int
    """A number is the status of the answer."""
    headers: Mapping[str, str]
    times: int


@dataclass
class LoopbackHub:
    """Repositories by name and revision; every request that came, as `METHOD path`, with its range if it had one."""

    repositories: dict[str, dict[str, Files]] = field(default_factory=dict[str, dict[str, Files]])
    faults: list[Fault] = field(default_factory=list[Fault])
    requests: list[str] = field(default_factory=list[str])
    refused: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict[str, tuple[int, dict[str, str]]])
    endpoint: str = ""
    waited: list[float] = field(default_factory=list[float])
    """Seconds that the client itself would have waited."""

    def asked(self, where: str) -> list[str]:
        """The requests that contain `where`."""
        return [request for request in self.requests if where in request]

    def fail(self, where: str, kind: Literal["cut", "short", "corrupt"] | int, times: int = 1, **headers: str) -> None:
        """Let the next `times` requests that contain `where` go wrong; a number is a status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(where, kind, named, times))

    def take_fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.where in request:
                fault.times -= 1
                return fault
        return None


def is_large(name: str) -> bool:
    """Whether the hub keeps a file outside git, behind a redirect, with its SHA-256 as etag."""
    return name.endswith((".safetensors", ".bin"))


def find_commit(repository: str, revision: str) -> str:
    return hashlib.sha1(f"{repository} {revision}".encode()).hexdigest()


@contextmanager
def serve_hub(hub: LoopbackHub) -> Generator[LoopbackHub, None, None]:
    """Answer on an ephemeral port until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            asked_range = self.headers.get("Range")
            request = f"{self.command} {unquote(path)}" + (f" {asked_range}" if asked_range else "")
            hub.requests.append(request)
            fault = hub.take_fault(request)
            if fault is not None and isinstance(fault.kind, int):
                return self.send(fault.kind, b"", fault.headers)
            parts = [unquote(part) for part in path.strip("/").split("/")]
            if parts[0] == "api" and parts[4] == "refs":
                return self.list_revisions("/".join(parts[2:4]))
            if parts[0] == "api":
                return self.describe("/".join(parts[2:4]), parts[5])
            if parts[0] == "storage":
                return self.give(parts[1], fault)
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), fault)

        def do_HEAD(self) -> None:
            self.do_GET()

        def describe(self, repository: str, revision: str) -> None:
            files = self.find(repository, revision)
            if files is None:
                return
            siblings: list[dict[str, object]] = []
            for name, content in files.items():
                sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
                if is_large(name):
                    sha256 = hashlib.sha256(content).hexdigest()
                    sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
                siblings.append(sibling)
            info = {"id": repository, "sha": find_commit(repository, revision), "siblings": siblings}
            self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

        def list_revisions(self, repository: str) -> None:
            names = hub.repositories.get(repository)
            if names is None:
                return self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": find_commit(repository, name)}
                for name in names
            ]
            refs = {"branches": branches, "converts": [], "tags": []}
            return self.send(200, json.dumps(refs).encode(), {"Content-Type": "application/json"})

        def resolve(self, repository: str, commit: str, name: str, fault: Fault | None) -> None:
            files = self.find(repository, commit)
            if files is None:
                return None
            if name not in files:
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'}
            if is_large(name):
                sha256 = hashlib.sha256(files[name]).hexdigest()
                headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(files[name]))}
                # another host name than the endpoint's, as the real storage has
                headers["Location"] = f"http://localhost:{server.server_port}/storage/{sha256}"
                return self.send(302, b"", headers)
            return self.give_content(files[name], headers, fault)

        def give(self, sha256: str, fault: Fault | None) -> None:
            contents = (
                c for revisions in hub.repositories.values() for files in revisions.values() for c in files.values()
            )
            self.give_content(next(c for c in contents if hashlib.sha256(c).hexdigest() == sha256), {}, fault)

        def give_content(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
            status, start = 200, 0
            if asked_range := self.headers.get("Range"):
                start = int(asked_range.removeprefix("bytes=").removesuffix("-"))
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body = content[start:]
            if fault is not None and fault.kind == "corrupt":
                body = body[:-1] + bytes([body[-1] ^ 1])
            if fault is not None and fault.kind == "short":
                body = body[: len(body) // 2]
            self.send(status, body, headers, cut=fault is not None and fault.kind == "cut")

        def find(self, repository: str, revision: str) -> Files | None:
            """The files of a revision or commit; None if an error was sent instead."""
            if repository in hub.refused:
                status, headers = hub.refused[repository]
                self.send(status, b"", headers)
            elif repository not in hub.repositories:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
            else:
                for name, files in hub.repositories[repository].items():
                    if revision in (name, find_commit(repository, name)):
                        return files
                self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None

        def send(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.wfile.flush()
                self.close_connection = True

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[LoopbackHub, None, None]:
    """A hub without repositories; the client's own waits are noted instead of waited."""
    import huggingface_hub
    from huggingface_hub import constants, file_download

    hub = LoopbackHub()
    clock = SimpleNamespace(sleep=hub.waited.append)
    monkeypatch.setattr(file_download, "time", clock)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_none")  # so that no token of the machine's is read
    huggingface_hub.close_session()
    with serve_hub(hub):
        yield hub
        huggingface_hub.close_session()
