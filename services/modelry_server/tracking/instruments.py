"""The Prometheus instruments of tracking, all of them."""

from prometheus_client import Counter, Histogram

from modelry_server.kernel.telemetry import DURATION_BUCKETS

points_total = Counter("modelry_tracking_points_total", "Metric points committed.")
batches_dropped_total = Counter("modelry_tracking_batches_dropped_total", "Batches that were durable already.")
group_batches = Histogram(
    "modelry_tracking_group_batches", "Batches in one transaction.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
commit_duration_seconds = Histogram(
    "modelry_tracking_commit_duration_seconds", "Time to write and commit one group.", buckets=DURATION_BUCKETS
)
chunks_merged_total = Counter("modelry_tracking_chunks_merged_total", "Small chunks that became part of a big one.")
runs_lost_total = Counter("modelry_tracking_runs_lost_total", "Runs whose processes had gone silent.")
runs_created_total = Counter("modelry_tracking_runs_created_total", "Runs started.")
