"""The Modelry server: one program that runs one service, or all of them.

The services are `access` (workspaces), `tracking` (experiments, runs, metrics, datasets), `artifacts` (files) and
`registry` (models, versions, aliases, promotions, audit records, events). No service imports another one: they call
each other over the contract, in one direction only, registry -> artifacts -> tracking -> access. Below them are
`mlflow_words` (what MLflow calls the fields of a search) and the `kernel`, which knows none of their nouns. Above them
are three tables: `config` (a section for each service), `permissions` (who may call what) and `targets` (which services
a process runs). `targets` builds on `addresses` (where services listen and reach each other) and `databases` (where
their data is).
"""

import modelry._grpc  # noqa: F401 - before anything else imports gRPC
