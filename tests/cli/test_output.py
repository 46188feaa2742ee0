from __future__ import annotations

import ast
import json
import time
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from modelry_cli.terminal import output, plot, words
from tests.architecture.tree import files, imports, parsed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=-2), "just now"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5, minutes=59), "5 hours ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=40), "2026-01-20"),
    ],
)
def test_times_are_said_as_people_say_them(before: timedelta, said: str) -> None:
    assert words.ago(NOW - before, NOW) == said


def test_json_has_numbers_that_are_none_as_texts_and_times_in_utc() -> None:
    at = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))

    plain = output.plain({"a": [float("nan"), float("inf"), float("-inf")], "t": at, "c": array("q", [1, 2])})

    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "a": ["NaN", "Infinity", "-Infinity"],
        "t": "2026-03-01T12:00:00Z",
        "c": [1, 2],
    }


STEERING = [
    *("\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff", "\u3164", "\ue000"),
    *("\U000e0001", "\ufff9"),
]


@pytest.mark.parametrize("letter", [*STEERING, "\ud800"])
def test_letters_that_steer_or_hide_are_shown_as_escapes(letter: str) -> None:
    assert words.clean(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize("letter", STEERING)
def test_letters_that_steer_or_hide_are_escapes_in_json_too(letter: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json({f"key{letter}": [f"a{letter}b é"]})

    written = capsys.readouterr().out
    assert letter not in written
    assert "é" in written
    assert json.loads(written) == {f"key{letter}": [f"a{letter}b é"]}


def test_half_of_a_surrogate_pair_can_be_read_by_every_reader_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json({"local_path": "folder/\udcff.txt", "\ud800": "🙂"})

    written = capsys.readouterr().out
    assert "\\ud" not in written
    assert json.loads(written) == {"local_path": "folder/\ufffd.txt", "\ufffd": "🙂"}


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    "moment",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
)
@pytest.mark.usefixtures("zone")
def test_a_time_at_the_end_of_the_calendar_is_shown(moment: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_one({"start_time": moment})
    output.write_list([moment], [output.Column("STARTED", lambda each: each)], nothing="")
    output.write_json({"start_time": moment})

    assert str(moment.year)[:3] in capsys.readouterr().out


@pytest.mark.parametrize("time_ms", [-(2**63), -1, 0, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1])
@pytest.mark.usefixtures("zone")
def test_a_time_of_a_point_is_shown_whatever_it_is(time_ms: int) -> None:
    said = words.moment_of(time_ms)

    assert said == f"{time_ms} ms" or datetime.strptime(said, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  # local time


def test_one_long_value_makes_no_other_line_of_a_pipe_longer(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_one({"params": {"short": "1", "long": "x" * 6000}})

    title, short, long = capsys.readouterr().out.splitlines()[-3:]
    assert (title, short.split(), long.split()) == ("params", ["short", "1"], ["long", "x" * 6000])
    assert len(short) < 20


def test_a_long_value_leaves_room_for_the_other_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_NOT_A_TERMINAL_COLUMNS", 80)
    columns: list[output.Column[dict[str, str]]] = [
        output.Column("ID", lambda row: row["id"]),
        output.Column("NAME", lambda row: row["name"]),
        output.Column("k" * 250, lambda row: row["value"]),
    ]

    output.write_list([{"id": "0" * 32, "name": "steady", "value": "v" * 400}], columns, nothing="")
    output.write_one({"params": {"k" * 250: "v" * 400}})

    written = capsys.readouterr().out
    assert f"{'0' * 32}  steady" in written
    assert max(map(len, written.splitlines())) <= 80
    assert written.count("v") == 800


def test_a_cell_of_a_list_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_list([{"note": "n" * 8000}], [output.Column("NOTE", lambda row: row["note"])], nothing="")

    title, line = capsys.readouterr().out.splitlines()
    assert (title, line) == ("NOTE", "n" * 500 + "…")


@pytest.mark.parametrize("write", [output.note, output.refuse])
def test_a_remark_is_cut_and_does_not_steer(write: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    write("the run \x9b31m has: " + ", ".join(f"metric{number}" for number in range(10_000)))

    told = capsys.readouterr().err
    assert "\\x9b31m" in told
    assert "\x9b" not in told
    assert len(told) < 5000


def test_letters_of_all_languages_stay() -> None:
    assert words.clean("Größe 数据 é 🙂") == "Größe 数据 é 🙂"


@pytest.mark.parametrize(("seconds", "said"), [(0.25, "0.2 s"), (61, "1 min 1 s"), (3 * 3600 + 120, "3 h 2 min")])
def test_durations_have_units(seconds: float, said: str) -> None:
    assert words.lasted(NOW, NOW + timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_have_units(count: int, said: str) -> None:
    assert words.size(count) == said


def test_a_sparkline_has_a_bar_for_each_number_and_a_blank_for_each_gap() -> None:
    assert plot.sparkline([0.0, float("nan"), 1.0]) == "▁ █"
    assert plot.sparkline([float("nan")]) == ""


@pytest.mark.parametrize("values", [[1e308, -1e308], [5e-324, 0.0], [3.0, 3.0], [float("inf"), 1.0, float("nan")]])
def test_a_curve_is_drawn_of_any_numbers(values: list[float]) -> None:
    drawn = plot.curve("m", list(range(len(values))), values, point_count=len(values))

    lines = drawn.splitlines()
    assert len(lines) == plot.HEIGHT + 3
    assert max(map(len, lines)) <= plot.WIDTH + 16


def test_a_series_without_numbers_says_so() -> None:
    assert "none can be drawn" in plot.curve("m", [0], [float("nan")], point_count=1)


def test_what_does_not_fit_a_narrow_screen_is_left_out_last_things_first() -> None:
    rows = [{"id": "0" * 32, "note": "n" * 20, "by": "somebody"}]
    columns: list[output.Column[dict[str, str]]] = [
        output.Column("ID", lambda row: row["id"]),
        output.Column("NOTE", lambda row: row["note"], spare=1),
        output.Column("BY", lambda row: row["by"], spare=2),
    ]

    def titles(width: int) -> list[str]:
        return [column.title for column in output.fitting(columns, rows, width)]

    assert titles(64) == ["ID", "NOTE", "BY"]
    assert titles(63) == ["ID", "NOTE"]
    assert titles(40) == ["ID"]


def test_only_one_file_prints() -> None:
    others = [
        path for path in files(".py") if path.is_relative_to("clients/cli/modelry_cli") and path.name != "output.py"
    ]
    called = [
        f"{path}: {ast.unparse(node.func)}"
        for path in others
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"print", "echo", "secho", "write"}
    ]

    assert called == []
    assert [str(path) for path in others if any(name.startswith("rich") for name in imports(path))] == []
