"""Names of the files that a run has for a key at each step, such as its images: made, and read again."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from modelry._sdk.values.numbers import whole_of
from modelry._sdk.values.texts import shown, text_of
from modelry.errors import InvalidArgument

_UNSAFE = re.compile(r"[^\w .+=()@,~-]+")
_LONGEST_NAME = 48  # characters, of up to 4 bytes: a file name may have 255 bytes
_NAME = re.compile(r"(?P<key>.+)-step-(?P<step>.+)-(?P<moment>\d{1,15})-[0-9a-f]{6}\.\w+")


@dataclass(frozen=True, slots=True)
class KeyedFile:
    """A file that was logged with a key, such as by `modelry.log_image(image, key="sample", step=3)`.

    `step` is a whole number, or the text that was given as one. `time` is when it was logged. `path` is where the file
    is among those of its run.
    """

    key: str
    step: int | str
    time: datetime
    path: str


def require_path_or_key(what: str, artifact_file: object, key: object, step: object) -> None:
    """Raises InvalidArgument for both or neither of a path and a key, and for a step without a key."""
    if (artifact_file is None) == (key is None):
        raise InvalidArgument(f"{what} needs either the path of its file or a key")
    if step is not None and key is None:
        raise InvalidArgument(f"step={step!r} needs a key: a path has one file, which the next step would replace")


def require_step(step: object) -> None:
    """Raises InvalidArgument for a step that is no whole number of 64 bits."""
    whole = 0 if step is None else whole_of(step)
    if not isinstance(whole, int) or not -(2**63) <= whole < 2**63:
        raise InvalidArgument(f"the step is {shown(step)[:80]}; give a whole number, such as that of the epoch")


def path_of(folder: str, key: object, step: object, ending: str) -> str:
    """A path in a folder for the file of a key and a step. Each call gives another path.

    What a path can't hold, of the key or the step, becomes `_`, with a few characters that tell such keys apart.
    """
    moment = f"{time.time_ns() // 1_000_000}-{secrets.token_hex(3)}"
    return f"{folder}/{name_of(key)}-step-{name_of(0 if step is None else whole_of(step))}-{moment}.{ending}"


def name_of(given: object) -> str:
    """How a key or a step is written in the name of a file."""
    text = text_of(given)
    safe = _UNSAFE.sub("_", text.replace("/", "~"))[:_LONGEST_NAME].strip(" .") or "_"
    if safe.replace("~", "/") == text:
        return safe
    return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def shown_as(key: object) -> str:
    """The key that is read from the name of a file that was written for a key."""
    return name_of(key).replace("~", "/")


def read(path: str) -> KeyedFile | None:
    """What the name of a file says. None if it is no name that `path_of` gives."""
    found = _NAME.fullmatch(PurePosixPath(path).name)
    if found is None:
        return None
    step = found["step"]
    return KeyedFile(
        key=found["key"].replace("~", "/"),
        step=int(step) if re.fullmatch(r"-?\d{1,19}", step) else step,
        time=datetime.fromtimestamp(int(found["moment"]) / 1000, UTC),
        path=path,
    )
