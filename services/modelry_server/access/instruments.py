"""The Prometheus instruments of access."""

from prometheus_client import Counter

workspaces_created_total = Counter("modelry_access_workspaces_created_total", "Workspaces created.")
