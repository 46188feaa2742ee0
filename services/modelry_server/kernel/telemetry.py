"""Logs and metrics of the server itself; cheap when nothing listens.

A log event is `<noun>.<what happened>` with fields, one JSON object a line, with the trace id of the call that it
belongs to. Instruments are Prometheus ones, named `modelry_<room>_<what>_<unit>[_total]`; each room defines its own in
`instruments.py`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import prometheus_client

from modelry_server.kernel import caller

_FIELDS = "modelry_fields"
DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, from a quick call to one that somebody complains about."""


class Log:
    """Writes events of one part of the server."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"modelry.{name}")

    def info(self, event: str, **fields: object) -> None:
        """Something happened as it should."""
        self._logger.info(event, extra={_FIELDS: fields})

    def warning(self, event: str, **fields: object) -> None:
        """Something happened that somebody should look at one day."""
        self._logger.warning(event, extra={_FIELDS: fields})

    def error(self, event: str, *, trace: bool = False, **fields: object) -> None:
        """Something failed; `trace` adds the stack of the exception at hand."""
        self._logger.error(event, exc_info=trace, extra={_FIELDS: fields})

    def debug(self, event: str, **fields: object) -> None:
        """A detail."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug(event, extra={_FIELDS: fields})


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; control characters in values are escaped by JSON."""
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

    Of the libraries only what is a warning at least is logged, in the same form.
    """
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(_Json())
    root, own = logging.getLogger(), logging.getLogger("modelry")
    root.handlers[:] = [*(each for each in root.handlers if not isinstance(each.formatter, _Json)), sink]
    own.setLevel(level.upper())
    root.setLevel(max(own.level, logging.WARNING))
    # Of a pipeline that failed psycopg warns again for each statement that was not run; the error itself is raised.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def serve_metrics(host: str, port: int) -> None:
    """Serves the process's Prometheus metrics over HTTP on a port of its own."""
    prometheus_client.start_http_server(port, addr=host)
