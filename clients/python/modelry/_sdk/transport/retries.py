"""Which calls are sent again after a failure, and by whom.

The contract marks each rpc by its `idempotency_level`. NO_SIDE_EFFECTS and IDEMPOTENT mean that it can be sent again.
So can a call whose request has a `request_id`, which the SDK always sets. The generated
`modelry.api.rpc.NOT_REPEATABLE` lists the others. Three mechanisms send again:

1. gRPC, by the service config below. It serves each call on each channel of the SDK: up to four attempts after
   UNAVAILABLE, CANCELLED or RESOURCE_EXHAUSTED, none for what is not repeatable. CANCELLED is the answer to a call
   whose message comes too late, and gRPC's own to calls that arrive at the moment when a server closes. A stream is
   sent again only if nothing of its answer has arrived. gRPC decides by the code alone, but keeps no message of more
   than 256 KiB to send it again, so one that is too large is sent once.
2. `files.transfer.repeated`, for uploads and downloads, after what `is_brief`. gRPC can't continue a stream that broke
   off; this sends or asks for the rest. WriteArtifacts is not repeatable as it stands, but the same content can be
   uploaded again.
3. The recorder, for what is logged. It sends each request until the server takes it or refuses it for good, with
   pauses of up to five seconds between the attempts, and from the spool also in a later process. What it sends can be
   sent again: batches are numbered, creating a run names its id, and the others set something to a value. This holds
   also for two rpcs that are not repeatable in general: UpdateRun (without an etag), and DeleteRunTags, whose second
   attempt may be refused because the tag is gone, and the SDK then logs a warning.

Modelry names a reason for each refusal. An answer without one is from gRPC itself or from a proxy. What passes is
repeated for as long as it takes and never counts against a request. What does not is a fault: a request that has too
many of them, while others are taken, is set aside (`recording.delivery`).

| the answer, without a reason | passes | because |
| --- | --- | --- |
| UNAVAILABLE, also HTTP 429, 502, 503 and 504 | yes | nobody took the call |
| DEADLINE_EXCEEDED | yes | the server is slow now |
| CANCELLED, also a stream reset by CANCEL | yes | a server or proxy gave the call up, such as while it ends |
| ABORTED | yes | by its meaning: the same call may work later |
| UNAUTHENTICATED | yes | the credential is at fault, not the request |
| RESOURCE_EXHAUSTED | yes | more calls than a server or proxy takes now, also a stream reset by ENHANCE_YOUR_CALM |
| RESOURCE_EXHAUSTED, and the text is that a message is too large | no | the request stays too large |
| INTERNAL or UNKNOWN, and the text is of a stream that was reset or removed | yes | the call was cut off on its way |
| UNKNOWN or UNIMPLEMENTED, and the text names HTTP 404, 408 or 5xx | yes | a proxy that has no server behind it now |
| UNKNOWN or INTERNAL, and the text names HTTP 400, 413 or 431 | no | a proxy refuses what the request holds |
| any other INTERNAL or UNKNOWN | no | a bug, which one request may bring about |
| any other UNIMPLEMENTED | no | a server of an older release never knows the rpc |
| PERMISSION_DENIED, also HTTP 403 | no | it may be about what the request holds, as with a firewall |
| INVALID_ARGUMENT and the others | no | somebody judged the request |
"""

from __future__ import annotations

import json
import re

from modelry.api.rpc import NOT_REPEATABLE
from modelry.errors import ModelryError

ATTEMPTS = 4
"""How often gRPC sends a repeatable call at most."""

_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "ABORTED", "CANCELLED"}
_QUOTA = "QUOTA_EXCEEDED"
"""The one reason with the code RESOURCE_EXHAUSTED that does not pass by itself; the server tells gRPC so, too."""
_REFUSING = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"}


_CUT_OFF_CODES = {"ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"}
_TOO_LARGE = re.compile(r"message .*(larger than|too large|exceeds)", re.IGNORECASE)
"""What gRPC says of a message that is too large: that of C, Go, Java, .NET, JavaScript and Rust."""
_CUT_OFF = re.compile("RST_STREAM|Stream removed|http2 header with status: (404|408|5..)")
"""What gRPC says of a call that did not come to a server, or of an answer that did not come from one."""
_ENDED_HERE = re.compile("Locally cancelled|Channel closed")
"""What gRPC says of a call that this process gave up."""


def is_passing(error: ModelryError) -> bool:
    """Whether the cause lies outside of the call and passes by itself: the same call may work later."""
    if error.reason == _QUOTA:
        return False
    if error.code == "RESOURCE_EXHAUSTED" and not error.reason:
        return not _TOO_LARGE.search(error.message)
    if error.code in {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED"}:
        return bool(_CUT_OFF.search(error.message))
    return error.code in _PASSING


def is_of_the_server(error: ModelryError) -> bool:
    """Whether what passes is the same for all other calls to the server, and not that this one was cut off.

    A server or proxy may cut off each stream that is too long for it, and take the others.
    """
    return is_passing(error) and error.code not in _CUT_OFF_CODES and error.reason != "CALL_TOO_LONG"


def is_brief(error: ModelryError) -> bool:
    """Whether the cause may pass within seconds.

    Not if the patience is over, if this process ended the call, or if it has no thread for it: it may be ending. A
    token that was refused is brief if there is another one by now.
    """
    is_over = error.code in {"DEADLINE_EXCEEDED", "UNAUTHENTICATED"} or error.reason == "NO_THREAD"
    is_over = is_over and error.reason != "TOKEN_RENEWED"
    is_over = is_over or bool(_ENDED_HERE.search(error.message))
    return is_passing(error) and not is_over


def is_refusal(error: ModelryError) -> bool:
    """Whether Modelry refuses this very call, for a reason that it names: the same call can't work later.

    What is neither refused nor passing is a fault: one of the server, the answer of somebody else, or a permission
    that is missing now.
    """
    return error.reason == _QUOTA or (error.code in _REFUSING and bool(error.reason))


def service_config() -> str:
    """The service config of gRPC: which calls a channel sends again, and when."""
    policy = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"],
    }
    once = [dict(zip(("service", "method"), path[1:].split("/"), strict=True)) for path in NOT_REPEATABLE]
    return json.dumps(
        {
            "methodConfig": [{"name": [{}], "retryPolicy": policy}, {"name": once}],
            "retryThrottling": {"maxTokens": 20, "tokenRatio": 1.0},
            "loadBalancingConfig": [{"round_robin": {}}],
        }
    )
