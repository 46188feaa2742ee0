"""Logs and metrics of the server itself. Cheap when nobody reads them.

A log event is `<noun>.<what happened>` with fields, one JSON object a line, with the trace id of the call that it
belongs to. Instruments are Prometheus ones, named `modelry_<room>_<what>_<unit>[_total]`; each room defines its own in
`instruments.py`.
"""

import json
import logging
import math
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from modelry_server.kernel import caller

_FIELDS = "modelry_fields"
_SELDOM_S = 60
DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, from a fast call to one that users complain about."""


class Log:
    """Writes the events of one part of the server."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"modelry.{name}")
        self._lock = threading.Lock()
        self._seldom: dict[tuple[str, str], tuple[float, int]] = {}

    def info(self, event: str, **fields: object) -> None:
        """An expected event."""
        self._logger.info(event, extra={_FIELDS: fields})

    def warning(self, event: str, **fields: object) -> None:
        """An event that an operator should look at, without hurry."""
        self._logger.warning(event, extra={_FIELDS: fields})

    def error(self, event: str, *, trace: bool = False, **fields: object) -> None:
        """A failure. `trace` adds the stack of the current exception."""
        self._logger.error(event, exc_info=trace, extra={_FIELDS: fields})

    def seldom(self, event: str, *, per: str, trace: bool = False, **fields: object) -> None:
        """A warning of what may happen many times a second: at most once a minute for each `per`.

        `left_out` says how many were not logged since the last one. `trace` as for `error`.
        """
        now, name = time.monotonic(), (event, per)
        with self._lock:
            last, left_out = self._seldom.get(name, (-math.inf, 0))
            is_due = now - last >= _SELDOM_S
            self._seldom[name] = (now, 0) if is_due else (last, left_out + 1)
        if is_due:
            fields = {**fields, "left_out": left_out} if left_out else fields
            self._logger.warning(event, exc_info=trace, extra={_FIELDS: fields})

    def debug(self, event: str, **fields: object) -> None:
        """A detail, for debugging."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug(event, extra={_FIELDS: fields})


class _Json(logging.Formatter):
    """Formats a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line. JSON escapes control characters in values."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        present = caller.current()
        if present is not caller.NOBODY:
            line["trace_id"] = present.trace_id
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """Sends the log as JSON lines to `stream` (default: standard error), from `level` up.

    Messages of libraries are logged in the same form, from the level `warning` up.
    """
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(_Json())
    root, own = logging.getLogger(), logging.getLogger("modelry")
    root.handlers[:] = [*(each for each in root.handlers if not isinstance(each.formatter, _Json)), sink]
    own.setLevel(level.upper())
    root.setLevel(max(own.level, logging.WARNING))
    # When a pipeline fails, psycopg also warns for each statement that did not run. The error itself is raised.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # It warns of each request that it repeats. If that fails too, `blobs.failed` says so, once a minute.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
