"""The spool: what was logged and is not delivered yet. `modelry.sync()` delivers it.

from modelry import spool

for each in spool.undelivered():
    print(each.path, each.address, each.told())
"""

from __future__ import annotations

from modelry._sdk.spooling.undelivered import Undelivered, discard, undelivered

__all__ = ["Undelivered", "discard", "undelivered"]
