"""Streams become lines as a terminal would show them, with progress bars in their last state."""

from __future__ import annotations

import pytest

from modelry._sdk.observing.screen import LONGEST_LINE, Screen


def shown(*texts: str) -> list[str]:
    """The lines of a stream after it has ended."""
    screen = Screen()
    for moment, text in enumerate(texts, 1):
        screen.write(text, moment)
    return [text for _, text in (*screen.take_final(), *screen.rest())]


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["one\ntwo\n"], ["one", "two"]),
        (["one", "\n", "\n", "two"], ["one", "", "two"]),
        (["windows\r\n", "ends\r\n"], ["windows", "ends"]),
        (["\r 10%|#   |", "\r 50%|##  |", "\r100%|####|\n", "done\n"], ["100%|####|", "done"]),
        (["long text\rshort\n"], ["short"]),
        (["bar\r", "   \r", "after\n"], ["after"]),
        (["\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\n"], ["red and plain"]),
        (["cut \x1b[3", "1mred\x1b", "[0m\n"], ["cut red"]),
        (["1/3\b\b\b\r", "3/3\n"], ["3/3"]),
        (["tab\there\x00\x07\n"], ["tab\there"]),
        (["a\x85b\u2028c\x0cd\n"], ["a\x85b\u2028cd"]),
        (["gone\x1b[2K\rleft\n"], ["left"]),
        ([""], []),
    ],
)
def test_lines_are_as_a_terminal_shows_them(texts: list[str], lines: list[str]) -> None:
    assert shown(*texts) == lines


def test_bars_above_each_other_are_one_line_each() -> None:
    texts = ["\router 0%"]
    for percent in (0, 50, 100):
        texts += ["\n", f"\rinner {percent}%", "\x1b[A", f"\router {percent}%"]

    assert shown(*texts, "\n", "\n", "done\n") == ["outer 100%", "inner 100%", "done"]


def test_lines_are_final_once_and_a_bar_only_when_it_ends() -> None:
    screen = Screen()

    screen.write("begins\n\r10%", 1)
    first, changing = screen.take_final(), screen.rest()
    screen.write("\r20%\nends", 2)
    second, rest = screen.take_final(), screen.rest()

    assert (first, changing) == ([(1, "begins")], [(1, "10%")])
    assert (second, rest) == ([(2, "20%")], [(2, "ends")])


def test_bars_that_are_drawn_again_later_stay_open() -> None:
    screen = Screen()

    screen.write("\router 0%\n\rinner 0%\x1b[A", 1)
    first = screen.take_final()
    screen.write("\router 50%\n\rinner 9%\x1b[A", 2)

    assert first == screen.take_final() == []
    assert [text for _, text in screen.rest()] == ["outer 50%", "inner 9%"]


def test_a_long_line_is_cut_and_says_so() -> None:
    (line,) = shown(*["x" * 10_000] * 3, "\n")

    assert line.startswith("x" * LONGEST_LINE + " …")
    assert line.endswith(f"{30_000 - LONGEST_LINE:,} more characters")


def test_a_cursor_that_is_moved_far_up_stays_on_what_is_left() -> None:
    assert shown("a\nb\n\x1b[9999A\rc\n") == ["c", "b"]
    assert shown("a\nb\n\x1b[99999999999A\rc\n") == ["a", "c"]
