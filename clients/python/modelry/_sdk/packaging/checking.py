"""Checks a model in a fresh environment: installs what it requires, loads it there, and predicts its example."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import judging, loading
from modelry._sdk.requiring import environments
from modelry._sdk.requiring.environments import Clock, TimeIsUp, Wanted
from modelry._sdk.values import urls
from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from os import PathLike

    from modelry._sdk.client import Client


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a model in a fresh environment.

    `kind` is `requirement` (can't be installed), `import` (a module that no requirement brings), `load`, `example`
    (can't be read), `prediction` or `timeout`. `subject` is the requirement, the module, or the type of the error;
    `message` says what happened and what would be right.
    """

    kind: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """What a check of a model found.

    `predicted` says whether the input example was predicted; it is False for a model without an example. `environment`
    is the folder of the environment, which is kept for the next check of the same requirements, or empty if it is not
    kept; it was made before if `reused`. `python` is the version it has. `seconds` is what the check took.
    """

    model_uri: str
    problems: tuple[Problem, ...]
    predicted: bool
    environment: str
    reused: bool
    python: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(model_uri: str | PathLike[str], client: Client | None, timeout: float, tell: Callable[[str], None]) -> Check:
    """See `modelry.models.check`."""
    if not timeout > 0:
        raise InvalidArgument(f"timeout is {timeout}, expected seconds above 0", reason="FIELD_INVALID")
    clock = Clock(timeout)
    with environments.ended_tidily(), tempfile.TemporaryDirectory(prefix="modelry-check-") as temporary:
        tell("fetching the files of the model")
        folder = os.path.abspath(loading.local_path(model_uri, os.path.join(temporary, "model"), client))
        if not Path(folder, "MLmodel").is_file():
            raise NotFound(
                f"there is no model at {urls.masked(os.fspath(model_uri))!r}: no file MLmodel",
                reason="MODEL_HAS_NO_FORMAT",
            )
        judging.judge(folder)
        wanted = environments.Wanted.of(*judging.requirements(folder))
        place = environments.place_of(wanted, temporary)
        reused = environments.is_ready(place)
        try:
            problems, predicted = _checked(folder, temporary, place, None if reused else wanted, clock, tell)
        except TimeIsUp:
            told = f"the check took longer than {timeout:g} s and was ended; give more time with timeout"
            problems, predicted = (Problem("timeout", f"{timeout:g} s", told),), False
    version = ".".join(map(str, sys.version_info[:3]))
    is_kept = not place.is_relative_to(temporary) and (reused or environments.is_ready(place))
    kept = os.fspath(place) if is_kept else ""
    return Check(os.fspath(model_uri), problems, predicted, kept, reused, version, round(clock.passed(), 3))


def _checked(
    folder: str, temporary: str, place: Path, missing: Wanted | None, clock: Clock, tell: Callable[[str], None]
) -> tuple[tuple[Problem, ...], bool]:
    # No program starts in a folder with files of the model: Python, pip and uv would run and obey some of them.
    empty = os.path.join(temporary, "empty")
    os.mkdir(empty)
    if missing is None:
        tell(f"using the environment {place}")
    else:
        wrong = environments.make(place, missing, empty, clock, tell)
        if wrong:
            return tuple(_not_installed(requirement, said) for requirement, said in wrong.items()), False
    tell("loading the model and predicting its input example")
    outcome = Path(temporary, "outcome.json")
    probe = Path(__file__).with_name("probe.py")
    # MLflow reads the text there that was judged here, whatever the locale is.
    ran = environments.run([environments.python_of(place), "-I", "-X", "utf8", probe, folder, outcome], empty, clock)
    try:
        found = json_object_of(outcome.read_text(encoding="utf-8"))
    except (OSError, Unreadable, ValueError):
        told = f"its process ended with {ran.status}: {ran.output.strip()[-500:] or 'it said nothing'}"
        return (Problem("load", f"exit {ran.status}", told),), False
    return ((_problem(found),), False) if "step" in found else ((), found.get("predicted") is True)


def _not_installed(requirement: str, said: str) -> Problem:
    advice = "give another version or an index that has it as pip_requirements, or its files as code_paths"
    if " @ file:" in requirement:
        advice = "it was a folder of the author's machine: publish it, or give its files as code_paths"
    return Problem("requirement", requirement, f"can't be installed: {said}; {advice}")


def _problem(found: Mapping[str, Any]) -> Problem:
    kind, subject, reason, at = (text_of(found.get(key, "")) for key in ("step", "subject", "reason", "at"))
    if kind == "import":
        told = f"{reason}, in the step {at}; log the model with it in extra_pip_requirements, or in code_paths"
        return Problem(kind, subject, told)
    where = f" ({at})" if at else ""
    words = {"load": "the model can't be loaded", "example": "its example can't be read"}
    return Problem(kind, subject, f"{words.get(kind, 'its example was not predicted')}: {subject}: {reason}{where}")
