"""Names for runs that were created without one."""

import random

_QUALITIES = (
    "bright", "fine", "noble", "pure", "proven", "ductile", "molten", "polished", "refined", "sterling", "tested",
    "true",
)  # fmt: skip
_THINGS = (
    "anvil", "bullion", "carat", "crucible", "furnace", "hallmark", "ingot", "ore", "planchet", "scale", "stamp",
    "touchstone",
)  # fmt: skip


def random_name() -> str:
    """A name such as `bright-ingot-417`. Names of different runs may be equal."""
    return f"{random.choice(_QUALITIES)}-{random.choice(_THINGS)}-{random.randrange(1000)}"
