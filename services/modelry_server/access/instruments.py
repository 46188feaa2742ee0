"""The Prometheus instruments of access."""

from prometheus_client import Counter

changes_total = Counter("modelry_access_changes_total", "Changes that were written down, by what was done.", ["action"])
