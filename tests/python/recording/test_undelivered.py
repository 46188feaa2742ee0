"""What lies in the spool is looked at without changing it, and deleted on demand only."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry import spool as spools
from modelry._sdk.spooling import kept, queued
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import Spool
from modelry.api.tracking.v1 import CreateRunRequest, WriteMetricsRequest
from modelry.errors import FailedPrecondition, InvalidArgument, Unavailable
from tests.python.recording.scripts import leave

SERVER = {"address": "127.0.0.1:9", "workspace": "team"}
RUN = "0" * 32


def _write(spool: Path) -> Spool:
    made = Spool.create(spool, SERVER)
    start = QueuedRequest(queued.CREATE_RUN, CreateRunRequest(run_id=RUN).SerializeToString())
    points = QueuedRequest(queued.WRITE_METRICS, WriteMetricsRequest(run_id=RUN).SerializeToString(), points=3)
    made.append([start, points])
    return made


def test_looking_changes_nothing_and_leaves_out_what_is_delivered(spool: Path) -> None:
    made = _write(spool)
    first = made.next()
    assert first is not None
    made.delivered(first)
    made.close()
    before = made.path.read_bytes()

    (found,) = spools.undelivered()

    assert (found.path, found.kind, found.address, found.workspace) == (made.path, "requests", *SERVER.values())
    assert (found.run_ids, found.entries, found.points) == ((RUN,), 0, 3)
    assert (found.size_bytes, found.in_use, found.problem) == (len(before), False, "")
    assert made.path.read_bytes() == before
    Spool.open(made.path).close()


def test_what_a_process_writes_is_in_use_and_stays(spool: Path) -> None:
    made = _write(spool)

    (found,) = spools.undelivered()
    with pytest.raises(FailedPrecondition, match="in use"):
        spools.discard(found.path)

    assert (found.in_use, found.points, found.entries) == (True, 3, 1)
    assert made.path.exists()
    made.close()
    spools.discard(made.path)
    assert spools.undelivered() == []


def test_copies_of_a_process_that_is_at_work_are_in_use(spool: Path) -> None:
    made = kept.keep_content(spool, SERVER, f"runs/{RUN}", "a.txt", b"abc")

    (found,) = spools.undelivered()
    with pytest.raises(FailedPrecondition, match="in use"):
        spools.discard(str(found.path))

    assert (found.kind, found.run_ids, found.entries, found.in_use) == ("files", (RUN,), 1, True)
    assert made.folder.exists()


def test_nobody_begins_to_use_what_is_being_deleted(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _write(spool)
    made.close()
    copies = kept.keep_content(spool, SERVER, f"runs/{RUN}", "a.txt", b"abc")
    leave(copies.folder)
    unlink, rename = Path.unlink, Path.rename

    def begin_and_unlink(path: Path, missing_ok: bool = False) -> None:
        with pytest.raises(SpoolInUse):
            Spool.open(path)
        unlink(path, missing_ok)

    def begin_and_rename(path: Path, target: Path) -> Path:
        with pytest.raises(SpoolInUse), kept.opened(path).held():
            pass
        return rename(path, target)

    monkeypatch.setattr(Path, "unlink", begin_and_unlink)
    monkeypatch.setattr(Path, "rename", begin_and_rename)
    spools.discard(made.path)
    spools.discard(copies.folder)

    assert list(spool.iterdir()) == []


def test_links_and_damaged_parts_are_discarded(spool: Path) -> None:
    _write(spool).close()
    (spool / "1-1-a.damaged").write_bytes(b"no spool")
    (spool / "1-1-b.spool").symlink_to(spool.parent / "elsewhere")
    (spool / "1-1-c.upload").mkdir()
    (spool / "1-1-d.copying").mkdir()

    for path in list(spool.iterdir()):
        spools.discard(path)

    assert list(spool.iterdir()) == []


def test_a_file_is_discarded_by_its_name(spool: Path) -> None:
    made = _write(spool)
    made.close()

    spools.discard(made.path.name)

    assert not made.path.exists()


@pytest.mark.parametrize("name", ["../elsewhere.spool", "notes.txt", "gone.spool", ".", ""])
def test_only_what_is_in_the_spool_is_discarded(spool: Path, name: str) -> None:
    _write(spool).close()
    (spool.parent / "elsewhere.spool").write_bytes(b"mine")
    (spool / "notes.txt").write_bytes(b"mine")

    with pytest.raises(InvalidArgument):
        spools.discard(spool / name)

    assert (spool.parent / "elsewhere.spool").exists()
    assert (spool / "notes.txt").exists()
    assert len(spools.undelivered()) == 1


def test_a_spool_that_is_no_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "file"))

    with pytest.raises(Unavailable, match="MODELRY_SPOOL_DIR"):
        spools.undelivered()
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "nowhere"))
    assert spools.undelivered() == []
