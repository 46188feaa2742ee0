"""The Modelry server: one program that runs one room, or all of them.

Rooms: `access` (workspaces), `tracking` (experiments, runs, metrics, datasets), `artifacts` (files), `registry`
(models, versions, aliases, promotions, audit, events). No room imports another: they speak over the contracts, and
calls run one way only, registry -> artifacts -> tracking -> access. Below them lies the `kernel`, which names no noun
of theirs. Above them lie the tables: `config` (a section for each room), `permissions` (who may call what), `targets`
(which rooms a process runs).
"""

import modelry._grpc  # noqa: F401 - before anything else imports gRPC
