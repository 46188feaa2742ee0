"""What every service needs and no service owns.

A file enters when at least two services need it today, it names no noun of the business, it has tests of its own, and
it has a place in the layer list of `pyproject.toml`. From the ground up:

- `errors`: what can go wrong, by canonical code; knows no transport
- `caller`, `clock`, `ids`: who calls, when it is, what a new thing is called
- `access`: what a caller may do, and where
- `config`, `telemetry`: settings; logs and metrics
- `audit`: the text and the digest of audit records
- `filter`: the filter language, as text and as a tree
- `sql`: databases, transactions, statements, filters as SQL
- `jobs`: what happens in the background
- `requests`: limits of fields, page tokens, update masks, requests that may come twice
- `transport`: listening, what happens around every call, calls to other services, errors on the wire
"""
