"""Files of runs and versions for fsspec, as `modelry://runs/<run_id>/<path>`.

fsspec finds them by itself where Modelry is installed: `pandas.read_csv("modelry://runs/<run_id>/train.csv")`.
"""

from __future__ import annotations

__all__ = ["register"]


def register() -> None:
    """Tells fsspec of `modelry://`. Only needed where Modelry is on the path without being installed. Needs fsspec."""
    from fsspec import register_implementation

    from modelry._sdk.fluent.filesystem import ModelryFileSystem

    register_implementation("modelry", ModelryFileSystem, clobber=True)
