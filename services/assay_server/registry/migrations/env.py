"""Runs the migrations of this room; see `kernel.db`."""

from assay_server.kernel.db import migrate

migrate()
