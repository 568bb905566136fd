"""What a live page shows: folders of results, and studies whose runs lie in them."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from saltus.api.folders import KINDS, Folder, describe, read_folder
from saltus.arguments import AnyPath
from saltus.errors import SaltusError
from saltus.live.shelf import Glimpse, Shelf, sign_folder
from saltus.lm.pocket.folder import PocketFolder
from saltus.monitor.folder import MonitorFolder
from saltus.monitor.records import MonitorRecords
from saltus.report.html.blocks import Section, Text
from saltus.report.sections import describe as describe_sections
from saltus.report.study.section import CellProgress, StudyProgress, describe_study
from saltus.studies.race_words import describe_race, describe_standings
from saltus.studies.sources import RunFolders, change_cells, list_cells
from saltus.studies.status import Standing, estimate_left, read_standings
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder


class FolderShelf:
    """The folders of results at some paths, and those that lie in them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [Path(os.path.realpath(path)) for path in paths]
        self._found: dict[str, Folder] = {}
        self._seen: dict[str, tuple[float, Glimpse]] = {}

    def look(self) -> Sequence[Glimpse]:
        """As `Shelf.look`."""
        found = {_name(folder.path): folder for folder in self._list()}
        seen: dict[str, tuple[float, Glimpse]] = {}
        for key, folder in found.items():
            version, changed = sign_folder(folder.path)
            before = self._seen.get(key)
            try:
                version += "-held" if folder.held else ""
                known = before if before and before[1].version == version else None
                seen[key] = known or (changed, _glimpse(key, folder, version))
            except Exception as error:  # noqa: BLE001 - whatever a damaged folder raises; what was known of it stands
                text = f"cannot be read: {error}"
                unknown = Glimpse(key, folder.path.name, folder.kind, "", text, f"{version}-unreadable")
                seen[key] = before or (changed, unknown)
        self._found, self._seen = found, seen
        return [glimpse for _, glimpse in sorted(seen.values(), key=lambda each: -each[0])]

    def describe(self, key: str) -> Sequence[Section]:
        """As `Shelf.describe`; trainings of one group are shown with the others of their group."""
        folder = self._found[key]
        try:
            records = [read_folder(folder)]
            if isinstance(folder, MonitorFolder):
                records += self._read_group(folder)
            sections = describe_sections(records)
        except Exception as error:  # noqa: BLE001 - a page of its own says it, and the others are shown
            return [_apologise(folder.path.name, str(error))]
        return sections[:1] if isinstance(folder, MonitorFolder) else sections

    def _read_group(self, folder: MonitorFolder) -> list[MonitorRecords]:
        """The other trainings of its group, as far as they can be read."""
        group, records = folder.spec().group, list[MonitorRecords]()
        for other in self._found.values():
            if isinstance(other, MonitorFolder) and other is not folder:
                with suppress(Exception):
                    records += [other.records()] if other.spec().group == group else []
        return records

    def _list(self) -> list[Folder]:
        """Those at the paths themselves, and those one level below; a path may appear later."""
        folders: dict[Path, Folder] = {}
        for path in self._paths:
            with suppress(PermissionError):  # one that may not be looked into hides no other
                for kind in KINDS:
                    own = [kind(path)] if (path / kind.description).exists() else []
                    folders |= {folder.path: folder for folder in (*own, *kind.list(path))}
        return list(folders.values())


@dataclass(frozen=True)
class WatchedStudy:
    """A study file, with what `run` was told of it."""

    path: AnyPath
    out: AnyPath
    """The folder that holds its runs."""
    scale: str = "full"
    seeds: int | None = None
    steps: int | None = None
    grid: bool = False


class StudyShelf:
    """One study: how far its cells are, and how its races stand, by the run folders alone."""

    def __init__(self, watched: WatchedStudy) -> None:
        """Execute the study file.

        Raises:
            SaltusError: if it is no study, or has not the scale.

        """
        study = load_study(watched.path)
        self._study = replace(study, race=None) if watched.grid else study
        self._change = change_cells(seeds=watched.seeds, steps=watched.steps)
        self._whole = [self._change(cell) for cell in study.at(watched.scale)]
        self._watched = watched
        self._out = Path(watched.out)
        self._key = _name(Path(watched.path).resolve())
        self._standings: Sequence[Standing] = ()
        self._seen: tuple[Glimpse, Section] | None = None

    def look(self) -> Sequence[Glimpse]:
        """As `Shelf.look`."""
        return [self._read()[0]]

    def describe(self, key: str) -> Sequence[Section]:
        """As `Shelf.describe`."""
        if key != self._key:
            raise KeyError(key)
        return [self._read()[1]]

    def _read(self) -> tuple[Glimpse, Section]:
        """Races are followed again only where a run of theirs has changed."""
        name = self._study.name
        try:
            standings = read_standings([standing.spec for standing in self._standings], self._out)
            if self._seen is None or standings != self._standings:
                self._seen = self._follow()
        except OSError:  # a disk that is away: what was known stands
            raise
        except Exception as error:  # noqa: BLE001 - a study's own functions may raise anything
            reason = str(error) if isinstance(error, SaltusError) else f"the study raised {error!r}"
            text = f"cannot be read: {reason}"
            return Glimpse(self._key, name, "study", "", text, _name(text)), _apologise(name, reason)
        return self._seen

    def _follow(self) -> tuple[Glimpse, Section]:
        study, out = self._study, self._out
        source = RunFolders(out)
        cells = list_cells(study, self._watched.scale, source, self._change)
        self._standings = read_standings([cell.run for cell in cells], out)
        races = [
            (heat, heat.follow(source.find)) for heat in (study.race.list_heats(self._whole) if study.race else ())
        ]
        places = {name: place for race in races for name, place in describe_standings(*race).items()}
        shown = [
            CellProgress(
                cell.name,
                cell.run.seeds,
                standing.step,
                cell.run.training.steps,
                f"failed: {standing.failure}" if standing.failure else standing.state,
                places.get(cell.name, ""),
            )
            for cell, standing in zip(cells, self._standings, strict=True)
        ]
        progress = StudyProgress(study.name, study.title, shown, [describe_race(*race) for race in races])
        running = any(standing.state == "being trained" for standing in self._standings)
        ended = all(cell.finished for cell in shown)
        glimpse = Glimpse(
            self._key,
            study.name,
            "race" if races else "study",
            progress.races[0] if len(races) == 1 else progress.told,
            "finished" if ended else "being written" if running else "not finished",
            _name(str(progress)),
            # A race is trained until the best is known: how much that takes, nobody knows.
            None if races else _share_done(self._standings),
            None if races or not running else _estimate_left(self._standings),
        )
        return glimpse, describe_study(progress)


class Shelves:
    """Several shelves as one."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._shelves = shelves

    def look(self) -> Sequence[Glimpse]:
        """As `Shelf.look`, a shelf after the other."""
        return [glimpse for shelf in self._shelves for glimpse in shelf.look()]

    def describe(self, key: str) -> Sequence[Section]:
        """As `Shelf.describe`."""
        for shelf in self._shelves:
            try:
                return shelf.describe(key)
            except KeyError:
                continue
        raise KeyError(key)


def _apologise(name: str, reason: str) -> Section:
    """In place of what cannot be read."""
    return Section(name, "What has come so far?", "Nothing can be shown yet.", [Text(reason)])


def _share_done(standings: Sequence[Standing]) -> float:
    """Of the operations of a study, from 0 to 1."""
    done, rest = sum(each.work for each in standings), sum(each.rest for each in standings)
    return done / (done + rest) if done + rest else 1.0


def _estimate_left(standings: Sequence[Standing]) -> float | None:
    """Seconds until all are done, by the finished runs, if these were all trained on one kind of device."""
    devices = {each.device for each in standings if each.device}
    return estimate_left(standings, devices.pop()) if len(devices) == 1 else None


def _name(text: object) -> str:
    """Stands for a path in addresses, and for a state in versions."""
    return hashlib.sha256(str(text).encode()).hexdigest()[:16]


def _glimpse(key: str, folder: Folder, version: str) -> Glimpse:
    listing = describe(folder)
    done, left = _measure_progress(folder) if listing.readable else (None, None)
    version += "" if listing.readable else "-unreadable"  # and so looked at again, though it does not change
    return Glimpse(key, listing.name, listing.kind, listing.what, listing.state, version, done, left)


def _measure_progress(folder: Folder) -> tuple[float | None, float | None]:
    """Share of the steps that are done, and the seconds that are left of a run at the pace between its checkpoints.

    The models of a suite differ in pace, and several train at a time: what is left of it is not known.
    """
    match folder:
        case PocketFolder():
            return folder.records().done, None
        case RunFolder():
            return _measure_run(folder)
        case _:
            return None, None


def _measure_run(folder: RunFolder) -> tuple[float | None, float | None]:
    if folder.finished:
        return 1.0, None
    budget, steps = folder.spec().training.steps, folder.checkpoint_steps()
    if not steps:
        return 0.0, None
    times = [(folder.path / "checkpoints" / f"{step:08d}").stat().st_mtime for step in (steps[0], steps[-1])]
    pace = (times[1] - times[0]) / (steps[-1] - steps[0]) if len(steps) > 1 else None
    return steps[-1] / budget, None if pace is None or not folder.held else pace * (budget - steps[-1])
