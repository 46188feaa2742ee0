from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from modelry._sdk.spooling import holders
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.spooling.places import SpoolUnsafe
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import (
    Spool,
    SpoolUnreadable,
    _server_of,
    left_in,
)

SERVER = {"address": "127.0.0.1:5100", "workspace": "default"}


def requests(*contents: str) -> list[QueuedRequest]:
    return [QueuedRequest("m", content.encode()) for content in contents]


def rest(spool: Spool) -> list[str]:
    found = []
    while (request := spool.next()) is not None:
        found.append(request.content.decode())
    return found


def left_behind(folder: Path, *contents: str) -> Path:
    spool = Spool.create(folder, SERVER)
    spool.append(requests(*contents))
    spool.close()
    return spool.path


def test_what_is_appended_is_read_in_order_by_another_process(tmp_path: Path) -> None:
    path = left_behind(tmp_path / "spool", "one", "two", "")

    spool = Spool.open(path)

    assert spool.server.items() >= SERVER.items()
    assert spool.requests_left == 3
    assert rest(spool) == ["one", "two", ""]
    assert left_in(tmp_path / "spool") == [path]


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    path = left_behind(tmp_path / "spool")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_while_its_process_lives_nobody_else_opens_it(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, SERVER)

    with pytest.raises(SpoolInUse):
        Spool.open(spool.path)

    spool.close()
    Spool.open(spool.path).close()


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_record_is_left_out(tmp_path: Path, cut: int) -> None:
    path = left_behind(tmp_path, "one", "two", "three")
    path.write_bytes(path.read_bytes()[:-cut])

    spool = Spool.open(path)

    assert rest(spool) == ["one", "two"]


def test_a_damaged_record_is_left_out_and_the_file_is_kept_to_look_at(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two", "three")
    path.write_bytes(path.read_bytes().replace(b"two", b"twO"))

    spool = Spool.open(path)
    found = rest(spool)
    damage = spool.remove()

    assert found == ["one", "three"]
    assert damage.startswith("damaged, 1 record could not")
    assert str(path.with_suffix(".damaged")) in damage
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()


def test_what_no_recorder_writes_raises_no_other_error(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one")
    record = b"LogBatch " + b"9" * 5000 + b"\0two"
    path.write_bytes(path.read_bytes() + struct.pack("<II", len(record), zlib.crc32(record)) + record)
    spool = Spool.open(path)

    found = rest(spool)
    spool.close()

    assert found == ["one", "two"]
    with pytest.raises(SpoolUnreadable, match="does not name its server"):
        _server_of(b"[" * 100_000, path)


def test_a_damaged_length_takes_the_rest_with_it_and_is_told(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two", "three")
    content = path.read_bytes()
    place = content.index(b"m 0\0two") - 8
    path.write_bytes(content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :])

    spool = Spool.open(path)
    found = rest(spool)

    assert found == ["one"]
    assert spool.remove().startswith(f"damaged, the last {len(content) - place} bytes could not")


def test_damage_is_known_after_an_earlier_delivery_went_past_it(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two", "three")
    path.write_bytes(path.read_bytes().replace(b"one", b"onE"))
    spool = Spool.open(path)
    second = spool.next()
    assert second is not None
    spool.delivered(second)
    spool.close()

    again = Spool.open(path)

    assert again.requests_left == 1
    assert rest(again) == ["three"]
    assert again.remove().startswith("damaged, 1 record could not")


def test_a_damaged_header_makes_it_deliver_all_again(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two")
    content = bytearray(path.read_bytes())
    content[14] ^= 1
    path.write_bytes(content)

    spool = Spool.open(path)

    assert spool.requests_left == 2
    assert rest(spool) == ["one", "two"]


def test_a_spool_that_is_whole_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool.open(left_behind(tmp_path, "one"))
    rest(spool)

    assert spool.remove() == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_delivered_is_not_read_again(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two")
    spool = Spool.open(path)
    first = spool.next()
    assert first is not None
    spool.delivered(first)
    spool.close()

    again = Spool.open(path)

    assert again.requests_left == 1
    assert rest(again) == ["two"]


def test_what_is_on_its_way_is_kept_but_not_read(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, SERVER)
    under_way, later = requests("under way"), requests("later")
    spool.append(under_way, held=True)
    spool.append(later)
    seen = rest(spool)
    for request in [*under_way, *later]:
        spool.delivered(request)

    assert seen == ["later"]
    assert spool.requests_left == 0


@pytest.mark.parametrize("content", [b"", b"MODELRY", b"x" * 100])
def test_a_file_that_is_no_spool_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.spool"
    path.write_bytes(content)

    with pytest.raises(SpoolUnreadable, match="not a spool"):
        Spool.open(path)


def test_points_are_counted_apart_from_other_requests(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, SERVER)
    batch = QueuedRequest("m", b"", points=7)
    spool.append([batch, *requests("one"), QueuedRequest("m", b"", points=5)])
    spool.delivered(batch)
    here = (spool.points_left, spool.others_left, spool.requests_left)
    spool.close()

    again = Spool.open(spool.path)

    assert here == (5, 1, 2)
    assert (again.points_left, again.others_left, again.requests_left) == here


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_spool_is_written_and_delivered(tmp_path: Path) -> None:
    spool = Spool.open(left_behind(tmp_path, "one"))

    assert rest(spool) == ["one"]


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_spool_that_its_process_writes_is_still_in_use(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, SERVER)

    with pytest.raises(SpoolInUse):
        Spool.open(spool.path)


@pytest.mark.usefixtures("no_locks")
def test_the_spool_of_another_machine_is_in_use_until_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(holders, "_machine", lambda: "another")
        spool = Spool.create(tmp_path, SERVER)
        spool.append(requests("one"))

    with pytest.raises(SpoolInUse):
        Spool.open(spool.path)
    long_ago = time.time() - holders.SILENT_SECONDS - 1
    os.utime(spool.path, (long_ago, long_ago))
    taken = Spool.open(spool.path)

    assert rest(taken) == ["one"]
    assert spool.is_taken
    assert not taken.is_taken


def test_the_spool_of_a_process_that_was_killed_is_taken(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from modelry._sdk.spooling.spool import Spool
Spool.create(Path({str(tmp_path)!r}), {SERVER!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (path,) = left_in(tmp_path)

    spool = Spool.open(path)

    assert ".open" in path.name
    assert ".open" not in spool.path.name


def test_a_forked_child_lets_the_file_of_its_parent_alone(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, SERVER)
    path = spool.path

    spool.let_go()

    assert path.exists()


def test_a_folder_that_others_can_write_to_is_not_used_but_one_in_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    planted = left_behind(shared, "planted")
    shared.chmod(0o777)

    mine = left_behind(shared, "mine")

    assert mine.parent == shared / f"user-{os.geteuid()}"
    assert left_in(shared) == [mine]
    assert planted.exists()


def test_a_folder_of_this_user_in_a_shared_one_is_judged_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    place = tmp_path / f"user-{os.geteuid()}"
    place.mkdir()
    place.chmod(0o777)

    with pytest.raises(SpoolUnsafe, match="MODELRY_SPOOL_DIR"):
        left_in(tmp_path)
    with pytest.raises(SpoolUnsafe, match="MODELRY_SPOOL_DIR"):
        Spool.create(tmp_path, SERVER)


def test_a_file_that_others_can_write_or_that_is_none_is_not_delivered(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one")
    path.chmod(0o666)
    link = tmp_path / "link.spool"
    link.symlink_to(left_behind(tmp_path, "two"))
    pipe = tmp_path / "pipe.spool"
    os.mkfifo(pipe, 0o600)

    for each in (path, pipe):
        with pytest.raises(SpoolUnsafe):
            Spool.open(each)
    with pytest.raises(OSError, match="symbolic"):
        Spool.open(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_delivered(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one")
    os.chown(path, 65534, 65534)

    with pytest.raises(SpoolUnsafe, match="belongs to the user 65534"):
        Spool.open(path)
    os.chown(tmp_path, 65534, 65534)
    assert left_in(tmp_path) == []
