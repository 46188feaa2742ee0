"""The functions that training code calls, and what they remember.

The package is loaded as a whole. If a thread loaded a part of it only when it calls a function, another thread could
fork just then, and the import lock of that part would be held in the child for ever.
"""

from modelry._sdk.fluent import functions, logging, searching

__all__ = ["functions", "logging", "searching"]
