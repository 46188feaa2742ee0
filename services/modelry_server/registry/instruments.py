"""The Prometheus instruments of the registry."""

from prometheus_client import Counter

changes_total = Counter(
    "modelry_registry_changes_total", "Changes that were written down, by what was done.", ["action"]
)
