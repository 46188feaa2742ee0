"""Assay: experiments, runs and models of machine learning, over gRPC.

    import assay

    with assay.start_run():
        assay.log_param("lr", 0.1)
        assay.log_metric("loss", 0.5, step=1)

Importing it costs little: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay import errors as errors
    from assay._sdk.client import Client as Client
    from assay.errors import AssayError as AssayError

_MODULES = ("errors", "models", "pyfunc", "sklearn")
_NAMES = {
    "AssayError": "assay.errors",
    "Client": "assay._sdk.client",
}

__version__ = "0.1.0"
__all__ = ["AssayError", "Client", "errors", "models", "pyfunc", "sklearn"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"assay.{name}")
    else:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
