"""Which calls are sent again after a failure, and by whom.

The contract marks each rpc by its `idempotency_level`. NO_SIDE_EFFECTS and IDEMPOTENT mean that it can be sent again.
So can a call whose request has a `request_id`, which the SDK always sets. The generated
`modelry.api.rpc.NOT_REPEATABLE` lists the others. Three mechanisms send again:

1. gRPC, by the service config below. It serves each call on each channel of the SDK: up to four attempts after
   UNAVAILABLE or CANCELLED, none for what is not repeatable. CANCELLED is the answer to a call whose message comes too
   late, and gRPC's own to calls that arrive at the moment when a server closes. A stream is sent again only if nothing
   of its answer has arrived.
2. `files.transfer.repeated`, for uploads and downloads. gRPC can't continue a stream that broke off; this sends or asks
   for the rest. WriteArtifacts is not repeatable as it stands, but the same content can be uploaded again.
3. The recorder, for what is logged. It sends each request until the server takes it or refuses it for good, with
   pauses of up to five seconds between the attempts, and from the spool also in a later process. What it sends can be
   sent again: batches are numbered, creating a run names its id, and the others set something to a value. This holds
   also for two rpcs that are not repeatable in general: UpdateRun (without an etag), and DeleteRunTags, whose second
   attempt may be refused because the tag is gone, and the SDK then logs a warning.
"""

from __future__ import annotations

import json

from modelry.api.rpc import NOT_REPEATABLE
from modelry.errors import ModelryError

ATTEMPTS = 4
"""How often gRPC sends a repeatable call at most."""

_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "ABORTED", "CANCELLED"}
_REFUSING = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"}


def is_passing(error: ModelryError) -> bool:
    """Whether the cause lies outside of the call and passes by itself: the same call may work later."""
    return error.code in _PASSING and not (error.code == "RESOURCE_EXHAUSTED" and not error.reason)


def is_refusal(error: ModelryError) -> bool:
    """Whether Modelry refuses this very call, for a reason that it names: the same call can't work later.

    What is neither refused nor passing is a fault: one of the server, the answer of somebody else, or a permission
    that is missing now.
    """
    return error.code in _REFUSING and bool(error.reason)


def service_config() -> str:
    """The service config of gRPC: which calls a channel sends again, and when."""
    policy = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    once = [dict(zip(("service", "method"), path[1:].split("/"), strict=True)) for path in NOT_REPEATABLE]
    return json.dumps(
        {
            "methodConfig": [{"name": [{}], "retryPolicy": policy}, {"name": once}],
            "retryThrottling": {"maxTokens": 20, "tokenRatio": 1.0},
            "loadBalancingConfig": [{"round_robin": {}}],
        }
    )
