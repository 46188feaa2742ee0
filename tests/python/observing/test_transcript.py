"""The files of the console of a run: what is kept of much output, and how it is read again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

import modelry
from modelry import Client
from modelry._sdk.files import console as files
from modelry._sdk.files.console import ConsoleLine
from modelry._sdk.nouns.console import Reader
from modelry._sdk.observing import transcript as transcripts
from modelry._sdk.observing.transcript import Files, Transcript


@pytest.fixture(autouse=True)
def recorded(fluent: None) -> None:
    """Runs may be started."""


class Server:
    """What takes the files of a run, while it is not `away`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent = 0
        self.away = False

    def send(self, path: str, content: bytes, is_last: bool) -> bool:
        if self.away and not is_last:
            return False
        self.files[path] = content
        self.sent += len(content)
        return True

    def delete(self, path: str) -> None:
        del self.files[path]

    def text(self) -> str:
        return "".join(self.files[path].decode() for path in sorted(self.files))


def line(number: int) -> bytes:
    return files.written(1_800_000_000_000_000_000 + number, "stdout", f"line {number} " + "x" * 60)


@pytest.mark.parametrize("away", [False, True])
def test_of_much_output_the_first_and_the_last_is_kept(monkeypatch: pytest.MonkeyPatch, away: bool) -> None:
    for name, size in {"PART": 1_000, "HEAD": 4_000, "TAIL": 4_000}.items():
        monkeypatch.setattr(transcripts, name, size)
    server = Server()
    kept = Transcript(Files(server.send, server.delete))

    server.away = away
    for number in range(1_000):
        kept.add(line(number))
        kept.send(b"")
    server.away = False
    kept.send(b"", is_last=True)

    lines = server.text().splitlines()
    assert "line 0 " in lines[0]
    assert "line 999 " in lines[-1]
    assert len(server.text()) < 12_000
    (gap,) = [text for text in lines if "left out here" in text]
    before, after = lines[: lines.index(gap)], lines[lines.index(gap) + 1 :]
    assert f"{1_000 - len(before) - len(after):,} lines" in gap
    assert [int(text.split()[4]) for text in before] == list(range(len(before)))
    assert [int(text.split()[4]) for text in after] == list(range(1_000 - len(after), 1_000))


@pytest.mark.parametrize("at_once", [30, 90, 500, 940])
def test_the_end_of_much_output_that_comes_at_once_is_kept(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    for name, size in {"PART": 500, "LARGEST_PART": 1_000, "HEAD": 4_000, "TAIL": 4_000}.items():
        monkeypatch.setattr(transcripts, name, size)
    server = Server()
    kept = Transcript(Files(server.send, server.delete))

    for first in range(0, 1_000, at_once):
        kept.add(b"".join(line(number) for number in range(first, min(first + at_once, 1_000))))
        kept.send(b"")
    kept.send(b"", is_last=True)

    lines = server.text().splitlines()
    (place,) = [place for place, text in enumerate(lines) if "left out here" in text]
    first_ones, last_ones = lines[:place], lines[place + 1 :]
    assert [int(text.split()[4]) for text in first_ones] == list(range(place))
    assert [int(text.split()[4]) for text in last_ones] == list(range(1_000 - len(last_ones), 1_000))
    assert f"{1_000 - len(first_ones) - len(last_ones):,} lines" in lines[place]
    for part in (first_ones, last_ones):
        assert 4_000 <= sum(len(text) + 1 for text in part) < 6_000
    assert max(map(len, server.files.values())) <= 1_000


def test_a_line_that_is_longer_than_a_file_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "LARGEST_PART", 100)
    server = Server()
    kept = Transcript(Files(server.send, server.delete))
    long = files.written(1_800_000_000_000_000_000, "stdout", "x" * 500)

    kept.add(line(1) + long + long + line(2))
    kept.send(b"", is_last=True)

    assert [server.files[path] for path in sorted(server.files)] == [line(1), long, long, line(2)]


def test_a_dropped_file_of_which_the_server_has_a_part_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"PART": 1_000, "LARGEST_PART": 1_000, "HEAD": 4_000, "TAIL": 4_000}.items():
        monkeypatch.setattr(transcripts, name, size)
    server = Server()
    kept = Transcript(Files(server.send, server.delete))

    for number in range(1_000):
        kept.add(line(number))
        if number % 95 == 0:
            kept.send(line(number + 1))
    kept.send(b"", is_last=True)

    numbers = [int(text.split()[4]) for text in server.text().splitlines() if "left out" not in text]
    assert numbers[0] == 0
    assert numbers[-1] == 999
    assert sum(after != before + 1 for before, after in pairwise(numbers)) == 1


@pytest.fixture
def long(client: Client, monkeypatch: pytest.MonkeyPatch) -> tuple[modelry.ActiveRun, Transcript]:
    """A run and its console, of which the first and the last 4 kB are kept."""
    monkeypatch.setenv("MODELRY_CONSOLE", "0")
    for name, size in {"PART": 1_000, "HEAD": 4_000, "TAIL": 4_000}.items():
        monkeypatch.setattr(transcripts, name, size)
    with modelry.start_run() as run:
        pass
    modelry.flush()
    return run, Transcript(Files(run.files.send_part, run.files.delete_part))


def numbers_of(lines: Iterable[ConsoleLine]) -> list[int | str]:
    return [int(line.text.split()[1]) if line.text.startswith("line") else line.text for line in lines]


def test_what_is_left_out_of_a_long_output_is_told_where_it_was(
    client: Client, long: tuple[modelry.ActiveRun, Transcript]
) -> None:
    run, kept = long
    for number in range(200):
        kept.add(line(number))
        kept.send(b"")
    kept.send(b"", is_last=True)

    found = numbers_of(client.runs.console(run.run_id))

    (place,) = [place for place, each in enumerate(found) if isinstance(each, str)]
    assert found[:place] == list(range(place))
    assert found[place + 1 :] == list(range(200 - len(found) + place + 1, 200))
    assert str(found[place]).startswith(f"… {200 - len(found) + 1} lines")


def test_who_follows_is_told_of_what_it_has_not_read(
    client: Client, long: tuple[modelry.ActiveRun, Transcript]
) -> None:
    run, kept = long
    reader = Reader(client.artifacts, run.run_id, rank=None, grep="")

    def read_after(numbers: range) -> list[int | str]:
        for number in numbers:
            kept.add(line(number))
            kept.send(b"")
        return numbers_of(reader.final())

    slowly = [each for first in range(0, 200, 20) for each in read_after(range(first, first + 20))]
    at_once = read_after(range(200, 400))

    assert slowly == list(range(200))
    assert at_once[0] == "… some lines are left out here"
    assert at_once[1:] == list(range(401 - len(at_once), 400))


def test_the_order_of_a_process_stays_when_the_clock_is_set_back(client: Client) -> None:
    with modelry.start_run() as run:
        pass
    modelry.flush()
    for rank, times in {"0": (10, 50, 30), "1": (20, 40, 60)}.items():
        lines = [files.written(moment * 1_000_000_000, "stdout", f"{rank} at {moment}") for moment in times]
        run.files.send_part(files.path_of(rank, "20270101T000000Z-ab12", 1), b"".join(lines), True)

    found = [line.text for line in client.runs.console(run.run_id)]

    assert found == ["0 at 10", "1 at 20", "0 at 50", "0 at 30", "1 at 40", "1 at 60"]


def test_little_is_sent_twice() -> None:
    server = Server()
    kept = Transcript(Files(server.send, server.delete))

    for number in range(10_000):
        kept.add(line(number))
        if number % 10 == 0:
            kept.send(b"")
    kept.send(b"", is_last=True)

    assert server.text().count("\n") == 10_000
    assert server.sent < 40 * len(server.text())


def test_names_of_other_files_are_none_of_a_console() -> None:
    assert files.part_of("modelry/console/x-1.log") is None
    assert files.part_of("modelry/rank_x/console/x-0001.log") is None
    assert files.part_of(files.path_of("12", "20270101T000000Z-ab12", 7)) == files.Part(
        "modelry/rank_12/console/20270101T000000Z-ab12-0007.log", 12, "20270101T000000Z-ab12", 7
    )


@pytest.mark.parametrize("content", [b"", b"\n", b"2027-01-01T00:00:00Z stdout F cut", b"x stdout F text\n", b"a b\n"])
def test_what_is_no_line_is_none(content: bytes) -> None:
    assert files.read(content, 0) is None
