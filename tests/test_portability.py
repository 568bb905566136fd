"""Nothing in the sources is there on POSIX systems alone, and files are written alike on every system."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import saltus
from saltus import processes
from saltus.errors import SaltusError
from saltus.ingest.folder import CurvesFolder
from saltus.storage.files import hold, write_file

SOURCE = Path(saltus.__file__).parent

POSIX_MODULES = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# "Availability: Unix" in the library's reference.
_OF_OS = """chown chroot ctermid fchdir fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid
    getpgrp getpriority getresuid getsid getuid initgroups killpg lchown lockf mkfifo mknod nice openpty pathconf pipe2
    posix_fadvise posix_spawn pread pwrite sched_getaffinity sched_setaffinity sendfile setegid seteuid setgid setpgid
    setsid setuid statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid WEXITSTATUS
    WIFEXITED O_NONBLOCK"""
_OF_SIGNAL = """SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm getitimer pause pthread_kill
    pthread_sigmask setitimer sigpending sigwait"""
# What is started without naming `spawn` is forked on Linux.
_OF_MULTIPROCESSING = "Manager Pool Process Queue Pipe"
POSIX_NAMES = {
    *(f"os.{name}" for name in _OF_OS.split()),
    *(f"signal.{name}" for name in _OF_SIGNAL.split()),
    *(f"multiprocessing.{name}" for name in _OF_MULTIPROCESSING.split()),
    "concurrent.futures.ProcessPoolExecutor",
    "socket.AF_UNIX",
    "time.tzset",
}


def find_faults(source: str) -> Iterator[str]:
    """What in a source works on some systems alone, as `LINE: what`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"{node.lineno}: {a.name}" for a in names if a.name.split(".")[0] in POSIX_MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in POSIX_MODULES:
                    yield f"{node.lineno}: {module}"
                yield from (f"{node.lineno}: {module}.{a.name}" for a in names if f"{module}.{a.name}" in POSIX_NAMES)
            case ast.Attribute() if ast.unparse(node) in POSIX_NAMES:
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=func, args=args, keywords=keywords):
                name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
                given = {keyword.arg: keyword.value for keyword in keywords}
                if name == "get_context" and [ast.unparse(arg) for arg in args] != ["'spawn'"]:
                    yield f"{node.lineno}: processes that are not spawned"
                yield from (f"{node.lineno}: {fault}" for fault in _find_text_faults(func, name, args, given))
            case _:
                pass


def _find_text_faults(
    func: ast.expr, name: str, args: list[ast.expr], given: dict[str | None, ast.expr]
) -> Iterator[str]:
    """Text that is read or written in the encoding, or with the line ends, of the system."""
    mode = _find_mode(func, args, given) if name == "open" else None
    if isinstance(func, ast.Attribute):  # a path's; there may be a function of the same name
        mode = {"read_text": "r", "write_text": "w"}.get(name, mode)
    if mode is None or "b" in mode:
        return
    if "encoding" not in given:
        yield f"{name} without an encoding"
    if mode[0] in "wax" and "newline" not in given:
        yield f"{name} without line ends"


def _find_mode(func: ast.expr, args: list[ast.expr], given: dict[str | None, ast.expr]) -> str | None:
    """The mode in which a file is opened; None where something else is opened."""
    if isinstance(func, ast.Attribute) and ast.unparse(func.value) in ("os", "self"):
        return None
    place = 0 if isinstance(func, ast.Attribute) else 1  # a path's method, or the function
    mode = given.get("mode") or (args[place] if len(args) > place else None)
    if mode is None:
        return "r"
    return mode.value if isinstance(mode, ast.Constant) and isinstance(mode.value, str) else None


def test_the_sources_work_on_every_system() -> None:
    faults = [f"{path.relative_to(SOURCE)}:{fault}" for path in sorted(SOURCE.rglob("*.py")) for fault in _read(path)]
    assert faults == []


def _read(path: Path) -> Iterator[str]:
    return find_faults(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import fcntl", "1: fcntl"),
        ("from resource import getrusage", "1: resource"),
        ("from os import getuid", "1: os.getuid"),
        ("import os\nos.fork()", "2: os.fork"),
        ("x = signal.SIGKILL", "1: signal.SIGKILL"),
        ("get_context('fork')", "1: processes that are not spawned"),
        ("path.read_text()", "1: read_text without an encoding"),
        ("path.write_text(x, encoding='utf-8')", "1: write_text without line ends"),
        ("path.open()", "1: open without an encoding"),
        ("open(path, 'a', newline='')", "1: open without an encoding"),
    ],
)
def test_a_fault_is_found(source: str, fault: str) -> None:
    assert list(find_faults(source)) == [fault]


@pytest.mark.parametrize(
    "source",
    ["path.open('rb')", "engine.open(specs, members)", "getattr(os, 'sched_getaffinity', None)", "os.open(path, 0)"],
)
def test_what_works_everywhere_is_no_fault(source: str) -> None:
    assert list(find_faults(source)) == []


def test_cores_and_interrupts_without_what_posix_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    assert processes.count_cores(Path("nowhere")) == os.cpu_count()
    with processes.without_interrupts():
        pass


@pytest.mark.parametrize("name", ["con", "NUL.curves", "lpt1", "a.", "a:b", "a/b", "."])
def test_a_name_that_windows_does_not_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SaltusError, match=r"^name: "):
        CurvesFolder.of(tmp_path, name)


def test_a_file_is_replaced_and_a_lock_stays(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with hold(tmp_path):
            write_file(tmp_path / "a", lambda path, text=text: path.write_text(text, encoding="utf-8", newline="\n"))
    assert (tmp_path / "a").read_bytes() == b"second"


def test_a_console_without_unicode_gets_signs_that_it_has(tmp_path: Path) -> None:
    """As of Windows, where what is piped is in an encoding of 256 signs."""
    (tmp_path / "a.csv").write_text("step,größe∞\n0,0.1\n10,0.9\n20,0.9\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "saltus", "read", "a.csv"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "größe?".encode("cp1252") in done.stdout
