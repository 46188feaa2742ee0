"""What every room needs and no room owns.

A file enters when at least two rooms need it today, it names no noun of the business, it has tests of its own, and it
was given a floor in the layer list of `pyproject.toml`. From the ground up:

- `errors`: what can go wrong, by canonical code; knows no transport
- `caller`, `clock`, `ids`: who calls, when it is, what a new thing is called
- `telemetry`, `config`, `fields`: logs and metrics; settings; limits of single fields
- `statements`: SQL of hot paths, compiled once and sent without waiting
- `db`, `filter`, `paging`: transactions; the filter language; page tokens
- `status`, `idempotency`, `predicate`: errors on the wire; requests that may come twice; filters and orders as SQL
- `channel`, `interceptors`, `jobs`: calls to neighbours; what happens around every call; what happens in the background
- `server`: listening, health, reflection, limits, drain
"""
