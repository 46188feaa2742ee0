"""What the files of a DVC repository say: `.dvc` files, `dvc.yaml`, `dvc.lock` and the settings."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelry._sdk.credentials import private
from modelry._sdk.datasets.sources import without_credentials
from modelry._sdk.values import foreign
from modelry._sdk.values.texts import shown
from modelry.errors import DvcNotTracked, InvalidArgument

_MOST_VALUES = 1_000_000
_DEEPEST = 50
_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True, slots=True)
class Output:
    """Something that DVC tracks: where it is, its digest as DVC writes it, and which file of DVC says so.

    `inside` and `file` are paths in the repository. `size` is in bytes. `is_old` is true for what DVC 2 or an older one
    tracked, which has another place and reads texts with the line ends of Unix.
    """

    repository: Repository
    path: Path
    file: str
    digest: str
    size: int | None
    files: int | None
    is_old: bool
    stage: str
    remote: str

    @property
    def inside(self) -> str:
        """The path in the repository."""
        return self.repository.inside(self.path)

    def cached(self) -> Path:
        """Where its content is in the cache: the file itself, or the listing of a folder."""
        return self.repository.cache() / self._key()

    def is_cached(self) -> bool:
        """Whether the cache has its content, or the listing of it."""
        return self.cached().exists()

    def ignore_files(self) -> Iterator[Path]:
        """The files of DVC that say what it ignores here."""
        return (each / ".dvcignore" for each in self.repository.up_from(self.path) if (each / ".dvcignore").exists())

    def origin(self) -> dict[str, Any]:
        """Where it came from: path, Git repository and commit, stage, and remote with the URL of the content."""
        remote, url = self.repository.remote(self.remote)
        found = {
            "path": self.inside,
            "dvc_file": self.file,
            **self.repository.git(self.file),
            "stage": self.stage,
            "remote": remote,
            "url": f"{url}/{self._key()}" if url else "",
        }
        return {key: value for key, value in found.items() if value != ""}

    def _key(self) -> str:
        return f"{'' if self.is_old else 'files/md5/'}{self.digest[:2]}/{self.digest[2:]}"


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository with its root: the folder that has `.dvc`."""

    root: Path

    @classmethod
    def of(cls, path: Path) -> Repository:
        """The repository of a path. Raises DvcNotTracked if no folder above it is one."""
        start = Path(os.path.abspath(path))
        for folder in start.parents:
            if (folder / ".dvc").is_dir():
                return cls(folder)
        raise DvcNotTracked(
            f"{path} is in no repository of DVC: no folder above it has a folder .dvc; run `dvc init` there, or "
            "describe the file with modelry.data.from_files",
            metadata={"path": os.fspath(path)},
        )

    def inside(self, path: Path) -> str:
        """A path as it is in the repository."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def up_from(self, path: Path) -> Iterator[Path]:
        """The folders from that of a path to the root."""
        for folder in path.parents:
            yield folder
            if folder == self.root:
                return

    def tracked(self, given: Path) -> Output:
        """What DVC tracks at a path, or by a `.dvc` file. Raises DvcNotTracked, with what to run."""
        path = Path(os.path.abspath(given))
        files = [path] if path.suffix == ".dvc" and path.is_file() else [Path(f"{path}.dvc")]
        for file in filter(Path.is_file, files):
            for out in _listed(self._document(file).get("outs")):
                at = _joined(file.parent, self._document(file).get("wdir"), out.get("path"))
                if file == path or at == path:
                    return self._output(at, file, "", out)
        unfinished = ""
        for folder in self.up_from(path):
            if (found := self._of_stages(folder, path)) is None:
                continue
            if isinstance(found, Output):
                return found
            unfinished = found
        raise self._untracked(given, path, unfinished)

    def remote(self, name: str = "") -> tuple[str, str]:
        """The name of a remote, by default that of the settings, and its URL without credentials. Empty if none is."""
        settings = self._settings()
        name = name or settings.get("core", "remote", fallback="")
        return name, without_credentials(self._url(settings, name)) if name else ""

    def cache(self) -> Path:
        """The folder of the cache."""
        place = self._settings().get("cache", "dir", fallback="cache")
        return self.root / ".dvc" / place

    def git(self, file: str) -> dict[str, Any]:
        """The Git repository, the commit, and whether a file of DVC is not in that commit as it is."""
        commit = self._git("rev-parse", "HEAD")
        if not commit:
            return {}
        url = without_credentials(self._git("remote", "get-url", "origin"))
        changed = self._git("status", "--porcelain", "--", file)
        return {"repository": url, "revision": commit} | ({"changed_since_revision": True} if changed else {})

    def _git(self, *words: str) -> str:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        try:
            ran = subprocess.run(
                ["git", "-C", str(self.root), *words],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                env=environment,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return ran.stdout.decode(errors="replace").strip() if ran.returncode == 0 else ""

    def _of_stages(self, folder: Path, path: Path) -> Output | str | None:
        """The output of a stage in this folder, or the name of the stage if it has not run yet."""
        pipeline, lock = folder / "dvc.yaml", folder / "dvc.lock"
        if not pipeline.is_file() and not lock.is_file():
            return None
        stages = self._document(pipeline).get("stages") if pipeline.is_file() else None
        stages = stages if isinstance(stages, dict) else {}
        locked = self._document(lock).get("stages") if lock.is_file() else None
        for stage, entry in (locked if isinstance(locked, dict) else {}).items():
            said = stages.get(str(stage).partition("@")[0])
            work = said.get("wdir") if isinstance(said, dict) else None
            for out in _listed(entry.get("outs") if isinstance(entry, dict) else None):
                if _joined(folder, work, out.get("path")) == path:
                    return self._output(path, lock, self._stage(folder, stage), out)
        for stage, said in stages.items():
            if not isinstance(said, dict):
                continue
            for kind in ("outs", "metrics", "plots"):
                for out in said.get(kind) or ():
                    named = next(iter(out), "") if isinstance(out, dict) else out
                    if _joined(folder, said.get("wdir"), named) == path:
                        return self._stage(folder, stage)
        return None

    def _stage(self, folder: Path, name: object) -> str:
        """A stage as `dvc repro` takes it."""
        return str(name) if folder == self.root else f"{self.inside(folder / 'dvc.yaml')}:{name}"

    def _output(self, path: Path, file: Path, stage: str, out: dict[str, Any]) -> Output:
        digest = out.get("md5")
        if isinstance(digest, str) and not _DIGEST.fullmatch(digest):  # a path in the cache is made of it
            raise InvalidArgument(
                f"{self.inside(file)} has {shown(digest)} as the MD5 of {self.inside(path)}, expected 32 "
                "hexadecimal digits, for a folder with .dir at the end; restore it, such as with git",
                metadata={"path": self.inside(path)},
            )
        if not isinstance(digest, str):
            how = f"dvc commit {stage}" if stage else f"dvc add {self.inside(path)}"
            kinds = ", ".join(each for each in ("etag", "checksum") if each in out)
            raise DvcNotTracked(
                f"{self.inside(file)} has no MD5 of {self.inside(path)}"
                f"{f' but a digest of another kind ({kinds})' if kinds else f' yet; run: {how}'}",
                metadata={"path": self.inside(path)},
            )
        size, count = out.get("size"), out.get("nfiles")
        return Output(
            *(self, path, self.inside(file), digest),
            size=size if isinstance(size, int) else None,
            files=count if isinstance(count, int) else None if digest.endswith(".dir") else 1,
            is_old=out.get("hash") != "md5",
            stage=stage,
            remote=str(out.get("remote") or ""),
        )

    def _untracked(self, given: Path, path: Path, stage: str) -> DvcNotTracked:
        inside = self.inside(path)
        if stage:
            advice = f"is an output of the stage {stage}, which has not run yet; run: dvc repro {stage}"
        elif above := next((each for each in self.up_from(path) if Path(f"{each}.dvc").is_file()), None):
            advice = f"is in the folder {self.inside(above)}, which DVC tracks as a whole; give that folder"
        elif path.exists():
            advice = f"is not tracked by DVC; run: dvc add {inside}, or describe it with modelry.data.from_files"
        else:
            advice = "does not exist, and DVC does not track it; is the path right?"
        return DvcNotTracked(f"{given} {advice}", metadata={"path": inside})

    def _document(self, file: Path) -> dict[str, Any]:
        try:
            found, _ = foreign.yaml_of(file.read_bytes(), most=_MOST_VALUES, deepest=_DEEPEST)
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "files of DVC are YAML, which needs PyYAML, which is not installed: pip install pyyaml", name="yaml"
            ) from None
        except OSError as problem:
            raise InvalidArgument(f"{self.inside(file)} can't be read: {problem.strerror}") from None
        except foreign.Unreadable as problem:
            raise InvalidArgument(f"{self.inside(file)} {problem}; restore it, such as with git") from None
        if not isinstance(found, dict):
            raise InvalidArgument(f"{self.inside(file)} is no file of DVC: it has no keys; restore it with git")
        return found

    def _settings(self) -> configparser.ConfigParser:
        """The settings of the user and the repository; later files win."""
        settings = configparser.ConfigParser(interpolation=None, strict=False)
        home = private.of_kind("XDG_CONFIG_HOME", ".config")
        user = [home / "dvc" / "config"] if home else []
        for file in (*user, self.root / ".dvc" / "config", self.root / ".dvc" / "config.local"):
            with suppress(OSError, UnicodeDecodeError, configparser.Error):
                settings.read_string("\n".join(map(str.strip, file.read_text("utf-8").splitlines())))
        return settings

    def _url(self, settings: configparser.ConfigParser, name: str, depth: int = 0) -> str:
        for quote in ("'", ""):
            if url := settings.get(f'{quote}remote "{name}"{quote}', "url", fallback=""):
                break
        if url.startswith("remote://") and depth < 5:  # in another remote
            other, _, rest = url.removeprefix("remote://").partition("/")
            return f"{self._url(settings, other, depth + 1).rstrip('/')}/{rest}".rstrip("/")
        if url and "://" not in url:
            return os.path.normpath(self.root / ".dvc" / url)
        return url.rstrip("/")


def _listed(outs: object) -> list[dict[str, Any]]:
    return [out for out in outs if isinstance(out, dict)] if isinstance(outs, list) else []


def _joined(folder: Path, work: object, path: object) -> Path:
    return Path(os.path.normpath(folder / str(work or ".") / str(path or "")))
