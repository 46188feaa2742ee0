"""Which versions of a framework read data only."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry._sdk.packaging import judging
from modelry.errors import FailedPrecondition
from tests.python.packaging.test_judging import KERAS, TENSORFLOW, a_model


@pytest.mark.parametrize(
    ("version", "refused"),
    [("3.10.0", True), ("3.11.2", True), ("3.13.2", True), ("2.15.0", True), ("3.14.0", False), ("3.15.1", False)],
)
@pytest.mark.parametrize("mlmodel", [KERAS, TENSORFLOW])
def test_keras_without_a_safe_mode_is_refused_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, version: str, refused: bool
) -> None:
    installed = tmp_path / "site" / f"keras-{version}.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: keras\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    model = a_model(tmp_path / "model", mlmodel)
    judging.judge(str(model))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    if refused:
        with pytest.raises(FailedPrecondition, match=f"Keras {version}, which needs Keras 3.14 or newer"):
            judging.judge(str(model))
    else:
        judging.judge(str(model))
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
        with pytest.raises(FailedPrecondition, match="TF_USE_LEGACY_KERAS"):
            judging.judge(str(model))
