"""Runs the migrations of this room; see `kernel.sql.database`."""

from modelry_server.kernel.sql.schema import migrate

migrate()
