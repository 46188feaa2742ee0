"""Artifacts: the files of runs and model versions, and the snapshots that freeze them.

Owns the tables `owners`, `artifacts`, `blobs`, `snapshots`, `artifacts_secrets`, and the object store. Asks `tracking`
about a run when files are written to it; where a run with files lies is known here from then on. Asks `access` for the
quotas of workspaces.

Always true:
- a file that is listed has its content in the store, complete and with the SHA-256 of its row;
- an acknowledged file is committed, and its content was synced to the disk before;
- of one stream of files all are there, or none;
- a path is a file or a folder, never both; the size and count of a folder are those of its files;
- the files of a version never change;
- the workspace of a version is that of the files from which it was made.
"""
