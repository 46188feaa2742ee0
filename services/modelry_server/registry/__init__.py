"""Registry: models, their versions, stages and aliases, and the record of every change.

Owns the tables `models`, `model_tags`, `versions`, `version_tags`, `aliases`, `promotions`, `evaluations`,
`evaluation_metrics`, `audit_records`, `events`, `event_positions`, `loose_snapshots`, `registry_requests`,
`registry_secrets`. Asks `tracking` about runs, `artifacts` to freeze their files, and `access` whether a workspace
exists, and for its quotas; never inside a transaction.

Always true:
- the versions of a model are numbered from 1 without gaps, in the order in which they were created;
- after a promotion with `archive_existing` the promoted version is the only one in its stage;
- an alias points at a version that exists;
- each change has its audit record and its event, written in the transaction of the change;
- an audit record never changes, and its digest covers that of the record before it;
- the events of a workspace get positions without gaps once they are committed, and those of one model in the order of
  its changes;
- who may not read a model learns nothing of it: not from an answer, an error or a cursor.
"""
