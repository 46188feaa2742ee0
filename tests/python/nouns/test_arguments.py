"""What callers may give as arguments, and how another value is refused before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from modelry import Client
from modelry._sdk.nouns import arguments
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument
from modelry.types import Dataset, DatasetInput, Flavor, Signature
from tests.python.registry_script import a_version, scripted

NUMBER: Any = 5
RUN = "0123456789abcdef0123456789abcdef"
SOURCE = f"runs:/{RUN}/model"
INPUTS = '[{"type": "double"}]'
NOUNS = (
    *("aliases", "artifacts", "audit", "datasets", "events", "experiments", "metrics", "models", "promotions"),
    *("runs", "versions", "workspaces"),
)


class MlflowSignature:
    """Has what MLflow's ModelSignature has."""

    def to_dict(self) -> dict[str, str | None]:
        """The schemas, as JSON."""
        return {"inputs": INPUTS, "outputs": None, "params": None}


@pytest.fixture
def client() -> Client:
    """A client of a server that is never asked."""
    return Client("grpc://127.0.0.1:1")


def methods_with_texts() -> list[tuple[str, str, str]]:
    """Each public method of a noun, with each of its parameters that is a text."""
    client = Client("grpc://127.0.0.1:1")
    return [
        (noun, name, parameter.name)
        for noun in NOUNS
        for name, method in inspect.getmembers(getattr(client, noun), inspect.ismethod)
        if not name.startswith("_")
        for parameter in inspect.signature(method).parameters.values()
        if parameter.annotation in ("str", "str | None")
    ]


@pytest.mark.parametrize(("noun", "name", "argument"), methods_with_texts())
def test_every_text_of_every_method_refuses_a_number(client: Client, noun: str, name: str, argument: str) -> None:
    method = getattr(getattr(client, noun), name)
    required = {
        each.name: "x"
        for each in inspect.signature(method).parameters.values()
        if each.default is each.empty and each.name != argument
    }

    with pytest.raises(InvalidArgument) as refused:
        method(**{**required, argument: 5})

    assert refused.value.message == f"{argument} must be a text, not 5, which is of type int"
    assert refused.value.fields == {argument: "must be a text"}


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda client: client.runs.update(RUN, description=5), "description"),
        (lambda client: client.models.create(5), "name"),
        (lambda client: client.models.create("m", description=None), "description"),
        (lambda client: client.runs.get(b"x"), "run_id"),
        (lambda client: client.runs.set_tags(RUN, 5), "tags"),
        (lambda client: client.runs.log_params(RUN, ["a"]), "params"),
        (lambda client: client.models.create("\udc80"), "name"),
        (lambda client: client.models.set_tags("m", {"a": "\udc80"}), "tags"),
        (lambda client: client.models.delete_tags("m", ["\udc80"]), "keys"),
        (lambda client: client.datasets.log(RUN, [DatasetInput(Dataset(name=NUMBER, digest="d"))]), "dataset.name"),
        (lambda client: client.datasets.log(RUN, [DatasetInput(Dataset(name="n", digest="d"), NUMBER)]), "context"),
        (lambda client: client.versions.create("m", SOURCE, flavors=5), "flavors"),
        (lambda client: client.versions.create("m", SOURCE, flavors=[5]), "flavors"),
        (lambda client: client.versions.create("m", SOURCE, flavors={"sklearn": 1.5}), "flavors['sklearn']"),
        (lambda client: client.versions.create("m", SOURCE, signature=5), "signature"),
        (lambda client: client.versions.create("m", SOURCE, signature={"input": INPUTS}), "signature"),
        (lambda client: client.versions.create("m", SOURCE, signature={"inputs": [1]}), "signature.inputs"),
        (lambda client: client.versions.create("m", SOURCE, signature={"outputs": "x"}), "signature.outputs"),
        (
            lambda client: client.versions.create("m", SOURCE, signature=Signature(params="[" * 10**5)),
            "signature.params",
        ),
        (lambda client: Client("grpc://127.0.0.1:1", NUMBER), "workspace"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_the_argument(
    client: Client, call: Callable[[Client], Any], argument: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        call(client)

    assert list(refused.value.fields) == [argument]
    assert refused.value.message.startswith(f"{argument} ")


def test_a_method_keeps_its_name_signature_and_description() -> None:
    method = Client("grpc://127.0.0.1:1").models.create

    assert (method.__name__, next(iter(inspect.signature(method).parameters))) == ("create", "name")
    assert inspect.getdoc(method)


@pytest.mark.parametrize("given", [Signature(inputs=INPUTS), MlflowSignature(), MlflowSignature().to_dict()])
def test_a_signature_may_be_ours_or_that_of_mlflow_or_a_mapping(given: Any) -> None:
    with scripted({registry.rpcs.CREATE_VERSION: [registry.CreateVersionResponse(version=a_version())]}) as (
        client,
        server,
    ):
        client.versions.create("bikes", SOURCE, signature=given)

    assert server.requests[0].signature == registry.Signature(inputs=INPUTS)


@pytest.mark.parametrize(
    "given",
    [
        [Flavor("sklearn", "1.5"), Flavor("onnx")],
        [("sklearn", "1.5"), "onnx"],
        {"sklearn": "1.5", "onnx": ""},
    ],
)
def test_flavors_may_be_names_pairs_a_mapping_or_ours(given: Any) -> None:
    with scripted({registry.rpcs.CREATE_VERSION: [registry.CreateVersionResponse(version=a_version())]}) as (
        client,
        server,
    ):
        client.versions.create("bikes", SOURCE, flavors=given)

    sent = [(flavor.name, flavor.library_version) for flavor in server.requests[0].flavors]
    assert sent == [("sklearn", "1.5"), ("onnx", "")]


def test_training_code_may_give_anything_as_text() -> None:
    assert [arguments.converted(given) for given in (None, 5, "a", "\udc80")] == ["", "5", "a", "\\udc80"]
    assert arguments.converted_texts({NUMBER: None, "a": 1.5}) == {"5": "None", "a": "1.5"}
