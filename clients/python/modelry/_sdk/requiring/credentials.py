"""The files that say what a model requires have no passwords and tokens: everyone who may load it can read them."""

from __future__ import annotations

import re
from pathlib import Path

from modelry._sdk.values import secrets, urls
from modelry._sdk.values.named_secrets import is_harmless
from modelry._sdk.values.secret_names import kind
from modelry.errors import InvalidArgument

_FILES = ("requirements.txt", "constraints.txt", "conda.yaml", "python_env.yaml")
_IN_PATH = re.compile(
    r"(?<=/t/)[\w-]{8,}(?=/)"
    r"|(?<=://dl\.cloudsmith\.io/)(?!(?:public|basic)/)[\w-]{8,}(?=/)"
    r"|(?<=://pypi\.fury\.io/)[A-Za-z0-9-]{16,}(?=/[\w.-])"
)
"""Tokens in the path: of channels of Anaconda (`https://conda.anaconda.org/t/TOKEN/channel`) and of two hosts."""
_OPTION = re.compile(r"\s*(?:- )?['\"]?--?[a-z]")
_PROXY = re.compile(r"(?P<option>--proxy[ =]['\"]?)(?!\$\{)[^\s/@]+@")
_VARIABLE = re.compile(r"(?P<before>\s+['\"]?(?P<name>[\w.-]+)['\"]?:\s+)(?P<quote>['\"]?)(?P<value>.+)(?P=quote)\s*")
"""A variable in the environment of conda: `  HF_TOKEN: …`."""


def masked(text: str) -> str:
    """A text with `***` in the place of what opens doors in its URLs, also of tokens in the paths of known hosts."""
    return _IN_PATH.sub(urls.MASK, urls.masked(text))


def require_none(folder: str) -> None:
    """Raises InvalidArgument for the first requirement of a saved model that has a password or token.

    They are known in URLs, after options of pip, and in variables of a conda environment.
    """
    for name in _FILES:
        file = Path(folder, name)
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
            shown = _shown(line)
            if shown != line:
                raise InvalidArgument(
                    f"{shown.strip().removeprefix('- ')!r} is a requirement with a password or token, and everyone who "
                    "may load the model could read it; write a variable instead, which pip, uv and conda read from the "
                    "environment: https://${INDEX_USER}:${INDEX_PASSWORD}@host/simple; nothing was saved",
                    reason="REQUIREMENT_HAS_SECRET",
                    metadata={"requirement": shown.strip()},
                )


def _shown(line: str) -> str:
    shown = masked(line)
    if _OPTION.match(shown):
        return secrets.masked_text(_PROXY.sub(rf"\g<option>{urls.MASK}@", shown))
    variable = _VARIABLE.fullmatch(shown)
    if variable and (sure := kind(variable["name"])) and not is_harmless(variable["value"], variable["name"], sure):
        return f"{variable['before']}{urls.MASK}"
    return shown
