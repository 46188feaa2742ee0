"""Runs the migrations of access; see `kernel.sql.database`."""

from modelry_server.kernel.sql.schema import migrate

migrate()
