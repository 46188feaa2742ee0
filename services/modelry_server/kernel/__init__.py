"""What every service needs and no service owns.

A file belongs here if at least two services need it today, it names no noun of the business, it has tests of its own,
and it has a place in the layers of `pyproject.toml`. From the bottom up:

- `errors`: one class for each canonical code, and the errors of all services
- `caller`, `clock`, `ids`: who calls, the time, new ids
- `ownership`: whether folders and files are this user's alone
- `access`, `audit`: what a caller may do, and where; the text and the chain of audit records
- `authority`: who callers are and what they may do, in memory
- `quotas`: the most that a workspace may have of something
- `config`, `telemetry`, `metrics_port`: settings; logs and metrics; the port of metrics
- `filter`: the filter language, as text and as a tree
- `sql`: databases, transactions, statements, filters as SQL
- `jobs`, `memory`: background jobs; what is free goes back to the system
- `requests`: limits of fields, page tokens, update masks, idempotent creation
- `transport`: listeners, what happens around every call, traces, draining, calls to other services, errors on the wire
"""
