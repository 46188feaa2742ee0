"""The Modelry server: one program that runs one service, or all of them.

The services are `access` (workspaces), `tracking` (experiments, runs, metrics, datasets), `artifacts` (files) and
`registry` (models, versions, aliases, promotions, audit records, events). No service imports another one: they call
each other over the contract, in one direction only, registry -> artifacts -> tracking -> access. Below them are
`mlflow_words` (what MLflow calls the fields of a search), `permissions` (who may call what) and the `kernel`, which
knows none of their nouns. Above them are two tables: `config` (a section for each service) and `targets` (which
services a process runs). `targets` builds on `addresses` (where services listen and reach each other), `databases`
(where their data is) and `identities` (how a process asks access about callers).
"""

import modelry._grpc  # noqa: F401 - before anything else imports gRPC
