from __future__ import annotations

import ast
import json
from array import array
from datetime import UTC, datetime, timedelta, timezone

import pytest

from modelry_cli import output, plot, words
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
    time = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))

    plain = output.plain({"a": [float("nan"), float("inf"), float("-inf")], "t": time, "c": array("q", [1, 2])})

    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "a": ["NaN", "Infinity", "-Infinity"],
        "t": "2026-03-01T12:00:00Z",
        "c": [1, 2],
    }


@pytest.mark.parametrize("letter", ["\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800"])
def test_letters_that_steer_or_hide_are_shown_as_escapes(letter: str) -> None:
    assert words.clean(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"


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
