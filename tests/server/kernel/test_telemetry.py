"""Log lines: one JSON object each, whatever is in the values, with the trace that they belong to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modelry_server.kernel import caller, telemetry
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.telemetry import Log, start_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged."""
    found = io.StringIO()
    start_logging("info", found)
    yield found
    start_logging("error", io.StringIO())


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_whatever_is_in_its_values(stream: io.StringIO) -> None:
    Log("runs").info("run.finished", name='a\nb\x1b[31m"\u65e5', points=3, thing=object)

    [line] = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["points"]) == ("run.finished", "info", "modelry.runs", 3)
    assert line["name"] == 'a\nb\x1b[31m"\u65e5'
    assert "\x1b" not in stream.getvalue()


def test_a_line_of_a_call_has_its_trace_and_one_of_the_server_has_none(stream: io.StringIO) -> None:
    with caller.using(Caller("ann", "ab" * 16)):
        Log("runs").warning("run.lost")
    Log("runs").warning("run.lost")

    first, second = lines(stream)
    assert first["trace_id"] == "ab" * 16
    assert "trace_id" not in second


def test_what_happens_often_is_logged_once_a_minute_for_each_kind(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, now = Log("rpc"), 1000.0
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now))

    for reason in ("A", "A", "B", "A"):
        log.seldom("rpc.unavailable", per=reason, reason=reason)
    now += 60
    log.seldom("rpc.unavailable", per="A", reason="A")

    assert [(line["reason"], line.get("left_out")) for line in lines(stream)] == [("A", None), ("B", None), ("A", 2)]


def test_below_its_level_nothing_is_logged(stream: io.StringIO) -> None:
    Log("runs").debug("run.looked_at")

    assert lines(stream) == []


def test_what_a_library_warns_of_is_a_line_too_and_what_it_only_tells_is_not(stream: io.StringIO) -> None:
    library = logging.getLogger("sqlalchemy.pool.impl.QueuePool")
    library.info("Pool recreating")
    try:
        raise ConnectionError("server closed the connection\nunexpectedly")
    except ConnectionError:
        library.error("Exception terminating connection %r", "c", exc_info=True)

    [line] = lines(stream)
    assert (line["logger"], line["level"]) == ("sqlalchemy.pool.impl.QueuePool", "error")
    assert line["event"] == "Exception terminating connection 'c'"
    assert "ConnectionError: server closed" in line["exception"]


def test_starting_again_writes_no_line_twice(stream: io.StringIO) -> None:
    other = io.StringIO()
    start_logging("info", other)

    Log("runs").info("run.finished")

    assert (len(lines(stream)), len(lines(other))) == (0, 1)


def test_an_error_can_bring_its_trace(stream: io.StringIO) -> None:
    try:
        raise ValueError("inside")
    except ValueError:
        Log("runs").error("run.failed", trace=True)

    assert "ValueError: inside" in lines(stream)[0]["exception"]
