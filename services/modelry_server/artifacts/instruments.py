"""The Prometheus instruments of artifacts."""

from prometheus_client import Counter

files_written_total = Counter("modelry_artifacts_files_written_total", "Files written by streams that were committed.")
written_bytes_total = Counter("modelry_artifacts_written_bytes_total", "Bytes of the files that were written.")
read_bytes_total = Counter("modelry_artifacts_read_bytes_total", "Bytes of files sent to readers.")
known_files_total = Counter("modelry_artifacts_known_files_total", "Files written whose content was stored already.")
lost_blobs_total = Counter(
    "modelry_artifacts_lost_blobs_total", "Reads of a file whose content was missing or damaged in the object store."
)
garbage_blobs_total = Counter(
    "modelry_artifacts_garbage_blobs_total", "Objects deleted from the store because nothing referred to them."
)
