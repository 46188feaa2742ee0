"""What an MLmodel file tells a version."""

from __future__ import annotations

from typing import Any

import pytest

from modelry._sdk.packaging.judging import LARGEST_BYTES
from modelry._sdk.packaging.registering import _mlmodel, described_by
from modelry.types import Flavor, Signature
from tests.python.scripted import OWNER, Script, a_file, client_of

MLMODEL = {
    "flavors": {
        "python_function": {"loader_module": "mlflow.sklearn", "python_version": "3.13.1"},
        "sklearn": {"sklearn_version": "1.5.2", "serialization_format": "cloudpickle"},
        "xgboost": {"xgb_version": "2.1.0"},
    },
    "signature": {"inputs": '[{"type": "double"}]', "outputs": None, "params": None},
    "run_id": "0" * 32,
}


def test_flavors_and_signature_are_those_of_the_file() -> None:
    signature, flavors = described_by(MLMODEL)

    assert signature == Signature(inputs='[{"type": "double"}]')
    assert flavors == (Flavor("python_function"), Flavor("sklearn", "1.5.2"), Flavor("xgboost", "2.1.0"))


@pytest.mark.parametrize("mlmodel", [{}, {"flavors": None, "signature": None}, {"flavors": [1], "signature": "x"}])
def test_a_file_that_says_nothing_gives_nothing(mlmodel: dict[str, Any]) -> None:
    assert described_by(mlmodel) == (None, ())


def test_what_exceeds_the_limits_of_the_contract_is_left_out() -> None:
    many: dict[str, dict[str, str]] = {f"flavor{number}": {} for number in range(101)}
    long = {"inputs": "x" * 1_000_001}

    signature, flavors = described_by({"flavors": {"n" * 251: {}, **many}, "signature": long})

    assert signature is None
    assert [flavor.name for flavor in flavors] == list(many)[:100]


def test_a_file_that_is_larger_than_the_server_said_is_not_read() -> None:
    said, sent = a_file("model/MLmodel", b"flavors: {}"), a_file("model/MLmodel", b"x" * (LARGEST_BYTES + 1))

    with client_of(Script(said, [[sent, b"x"]])) as client:
        assert _mlmodel(f"{OWNER.replace('/', ':/', 1)}/model", client) == {}


def test_a_file_that_can_not_be_read_says_nothing() -> None:
    broken = b"flavors: {sklearn: {a: !!int ''}}"
    said = a_file("model/MLmodel", broken)

    with client_of(Script(said, [[said, broken]])) as client:
        assert _mlmodel(f"{OWNER.replace('/', ':/', 1)}/model", client) == {}


def test_what_is_no_unicode_becomes_an_escape() -> None:
    described = {"flavors": {"\ud800": {"\ud800_version": "\ud800"}}, "signature": {"inputs": "\ud800"}}

    assert described_by(described) == (Signature(inputs="\\ud800"), (Flavor("\\ud800", "\\ud800"),))
