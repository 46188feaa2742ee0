"""Artifacts: the files of runs and model versions, and the snapshots that freeze them.

Owns the tables `blobs`, `artifacts`, `snapshots`, `artifacts_secrets`, and the object store. Asks `tracking` whether
a run exists.

Always true:
- a file that is listed has its content in the store, whole and with the SHA-256 that is said of it;
- an acknowledged file is committed, and its bytes were synced to the disk before;
- of one stream of files all are there, or none;
- a path is a file or a folder, never both; a folder's size and count are those of its files;
- the files of a version never change.
"""
