"""Runs the migrations of this room; see `kernel.sql.database`."""

from modelry_server.kernel.sql.database import migrate

migrate()
