"""The files that say what a model requires have no passwords and tokens: everyone who may load it can read them."""

from __future__ import annotations

import re
from pathlib import Path

from modelry._sdk.values import urls
from modelry.errors import InvalidArgument

_FILES = ("requirements.txt", "constraints.txt", "conda.yaml", "python_env.yaml")
_TOKEN_OF_CHANNEL = re.compile(r"(?<=/t/)[\w-]{8,}(?=/)")
"""Channels of Anaconda have their token in the path: `https://conda.anaconda.org/t/TOKEN/channel`."""


def require_none(folder: str) -> None:
    """Raises InvalidArgument for the first requirement of a saved model that has a password or token in its URL."""
    for name in _FILES:
        file = Path(folder, name)
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
            shown = _TOKEN_OF_CHANNEL.sub(urls.MASK, urls.masked(line))
            if shown != line:
                raise InvalidArgument(
                    f"{shown.strip().removeprefix('- ')!r} is a requirement with a password or token, and everyone who "
                    "may load the model could read it; write a variable instead, which pip, uv and conda read from the "
                    "environment: https://${INDEX_USER}:${INDEX_PASSWORD}@host/simple; nothing was saved",
                    reason="REQUIREMENT_HAS_SECRET",
                    metadata={"requirement": shown.strip()},
                )
