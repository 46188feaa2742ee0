"""Registry: models, their versions, stages and aliases, and the record of every change.

Owns the tables `models`, `model_tags`, `versions`, `version_tags`, `aliases`, `promotions`, `audit_records`, `events`,
`event_positions`, `loose_snapshots`, `registry_requests`, `registry_secrets`. Asks `tracking` whether a run exists,
`artifacts` to freeze its files, and `access` whether a workspace exists; never inside a transaction.

Always true:
- the versions of a model are numbered from 1 without gaps, in the order in which they were created;
- after a promotion with `archive_existing` the promoted version is the only one in its stage;
- an alias points at a version that exists;
- each change has its audit record and its event, in the transaction of the change;
- an audit record never changes, and its digest covers the digest of the record before it;
- events get their positions after the commit, in the order of each model's changes, so that a reader who has seen a
  position has seen all lower ones of the workspace.
"""
