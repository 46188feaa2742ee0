"""The lifecycle of things and the lifecycle filter of searches, to and from the contract."""

from modelry.api.common import v1 as common
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.tracking.entities import Lifecycle, LifecycleFilter

_WANTED = ", ".join(f"LIFECYCLE_FILTER_{each.name}" for each in LifecycleFilter)


def message(lifecycle: Lifecycle) -> common.Lifecycle.ValueType:
    """The lifecycle as the contract has it."""
    return common.Lifecycle.ValueType(lifecycle)


def wanted(number: int) -> LifecycleFilter:
    """Which things a search is for; active ones by default. Raises FieldInvalid for a number that is not known."""
    if not number:
        return LifecycleFilter.ACTIVE
    if number in LifecycleFilter.__members__.values():
        return LifecycleFilter(number)
    raise FieldInvalid({"lifecycle": f"{number} is not known to this server; use one of {_WANTED}"})
