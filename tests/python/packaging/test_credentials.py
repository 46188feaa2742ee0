"""A model has no passwords and tokens in what it requires, however its requirements are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.linear_model import LinearRegression

import modelry.sklearn
from modelry.errors import InvalidArgument

S = "sEcr3tq7Rt5Yp0Lm2"
"""A value that must not be stored."""

INDEX = f"--extra-index-url https://ada:{S}@host/simple"


def conda(*pip: str, channel: str = "conda-forge") -> dict[str, Any]:
    return {"name": "a", "channels": [channel], "dependencies": ["python=3.11", {"pip": ["scikit-learn", *pip]}]}


def written(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


GIVEN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "an index": lambda _: {"pip_requirements": ["scikit-learn", INDEX]},
    "a further index": lambda _: {"extra_pip_requirements": [INDEX]},
    "a repository": lambda _: {"extra_pip_requirements": [f"a @ git+https://{S}@host/org/a@v1"]},
    "a parameter": lambda _: {"extra_pip_requirements": [f"--extra-index-url https://host/simple?token={S}"]},
    "a file": lambda folder: {"pip_requirements": written(folder, "given.txt", f"scikit-learn\n{INDEX}\n")},
    "a nested file": lambda folder: {
        "pip_requirements": [f"-r {written(folder, 'given.txt', f'scikit-learn{chr(10)}{INDEX}{chr(10)}')}"]
    },
    "constraints": lambda folder: {
        "extra_pip_requirements": [f"-c {written(folder, 'given.txt', f'a @ https://ada:{S}@host/a.whl')}"]
    },
    "a password after git": lambda _: {"extra_pip_requirements": [f"a @ git+https://git@x:{S}@host/org/a"]},
    "a fragment": lambda _: {"extra_pip_requirements": [f"a @ https://host/a.whl#access_token={S}"]},
    "a token of Cloudsmith": lambda _: {"extra_pip_requirements": [f"--index-url https://dl.cloudsmith.io/{S}/a/b/"]},
    "a token of Gemfury": lambda _: {"extra_pip_requirements": [f"--extra-index-url https://pypi.fury.io/{S}/me/"]},
    "a variable": lambda _: {"conda_env": conda() | {"variables": {"HF_TOKEN": S}}},
    "an index in a variable": lambda _: {"conda_env": conda() | {"variables": {"PIP_INDEX_URL": INDEX.split()[1]}}},
    "a parameter in an environment": lambda _: {"conda_env": conda(f"--extra-index-url https://h/simple?api_key={S}")},
    "a further index in an environment": lambda _: {"conda_env": conda(f"--extra-index-url https://git@x:{S}@h/a")},
    "an environment": lambda _: {"conda_env": conda(INDEX)},
    "a channel": lambda _: {"conda_env": conda(channel=f"https://ada:{S}@host/mine")},
    "a token of a channel": lambda _: {"conda_env": conda(channel=f"https://conda.anaconda.org/t/{S}/mine")},
    "a file of an environment": lambda folder: {
        "conda_env": written(folder, "given.yaml", yaml.safe_dump(conda(INDEX)))
    },
}


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_requirement_with_a_secret_is_refused_and_nothing_is_left(
    tmp_path: Path,
    given: Callable[[Path], dict[str, Any]],
    is_there: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "model"
    if is_there:
        place.mkdir()

    with pytest.raises(InvalidArgument, match=r"\$\{INDEX_USER\}") as refused:
        modelry.sklearn.save_model(LinearRegression().fit([[1.0], [2.0]], [1, 2]), place, **given(tmp_path))

    assert refused.value.reason == "REQUIREMENT_HAS_SECRET"
    assert "***" in refused.value.message
    assert S not in f"{refused.value} {refused.value.metadata} {caplog.text}"
    assert [each.name for each in place.iterdir()] == [] if is_there else not place.exists()


def test_variables_and_the_user_of_ssh_are_kept_as_they_are(tmp_path: Path) -> None:
    given = [
        "--extra-index-url https://${INDEX_USER}:${INDEX_PASSWORD}@host/simple",
        "a @ git+https://${TOKEN}@host/org/a@v1",
        "b @ git+ssh://git@host/org/b@v1",
        "detect-secrets==1.5.0",
        "--extra-index-url https://dl.cloudsmith.io/public/org/repository/python/simple/",
        "--extra-index-url https://pypi.fury.io/me/",
        "c @ https://host/c.whl#sha256=0123456789abcdef",
    ]

    modelry.sklearn.save_model(
        LinearRegression().fit([[1.0], [2.0]], [1, 2]), tmp_path / "model", extra_pip_requirements=given
    )

    assert set(given) < set((tmp_path / "model" / "requirements.txt").read_text().splitlines())
