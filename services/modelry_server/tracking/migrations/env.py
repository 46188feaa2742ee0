"""Runs the migrations of this room; see `kernel.db`."""

from modelry_server.kernel.db import migrate

migrate()
