from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelry._sdk.recording.queued import QueuedRequest
from modelry._sdk.recording.spool import (
    Spool,
    SpoolInUse,
    SpoolUnreadable,
    drop_files,
    keep_content,
    keep_files,
    left_in,
    upload_of,
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

    assert spool.server == SERVER
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


def test_a_damaged_length_takes_the_rest_with_it_and_is_told(tmp_path: Path) -> None:
    path = left_behind(tmp_path, "one", "two", "three")
    content = path.read_bytes()
    place = content.index(b"m\0two") - 8
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

    assert (again.requests_left, again.drained) == (1, False)
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
    assert spool.drained


@pytest.mark.parametrize("content", [b"", b"MODELRY", b"x" * 100])
def test_a_file_that_is_no_spool_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.spool"
    path.write_bytes(content)

    with pytest.raises(SpoolUnreadable, match="not a spool"):
        Spool.open(path)


def test_files_are_kept_as_they_are_now(tmp_path: Path) -> None:
    folder, spool_folder = tmp_path / "plots", tmp_path / "spool"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("before")
    request = keep_files(spool_folder, "runs/1", "plots", folder)
    content = keep_content(spool_folder, "runs/1", "report/b.txt", b"text")
    (folder / "deep" / "a.txt").write_text("after")

    upload = upload_of(request)
    assert (upload.owner, upload.path) == ("runs/1", "plots")
    assert (spool_folder / upload.folder / "deep" / "a.txt").read_text() == "before"
    assert (spool_folder / upload_of(content).folder / "report" / "b.txt").read_bytes() == b"text"

    drop_files(spool_folder, request)
    assert not (spool_folder / upload.folder).exists()
