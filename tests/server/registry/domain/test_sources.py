"""A source is files of a run or another version of this system, and nothing else."""

import pytest

from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import sources
from modelry_server.registry.entities import Flavor, RunFiles, Signature, Source, VersionCopy, source_of
from modelry_server.registry.errors import ModelNotFound, VersionNotFound
from tests.server.registry.conftest import Registry

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (RunFiles(RUN, "model"), f"runs:/{RUN}/model"),
        (RunFiles(RUN, ""), f"runs:/{RUN}/"),
        (RunFiles(RUN, "a/b c/mödel.pkl"), f"runs:/{RUN}/a/b c/mödel.pkl"),
        (RunFiles(RUN, "line\nbreak"), f"runs:/{RUN}/line\nbreak"),
        (VersionCopy("fraud", 3), "models:/fraud/3"),
        (VersionCopy("Betrug & Co.", 12), "models:/Betrug & Co./12"),
    ],
)
def test_the_text_of_a_source_is_read_back(source: Source, text: str) -> None:
    assert str(source) == text
    assert source_of(text) == source


def test_a_copied_version_is_read_back_with_its_id() -> None:
    assert source_of("models:/fraud/3", "1" * 32) == VersionCopy("fraud", 3, "1" * 32)


@pytest.mark.parametrize("text", ["", "model", "s3://bucket/model", "models:/fraud", f"runs:/{RUN}"])
def test_other_text_is_no_source(text: str) -> None:
    with pytest.raises(ValueError, match="not the text of a source"):
        source_of(text)


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        (None, ["source"]),
        (RunFiles("", "model"), ["source.run.run_id"]),
        (RunFiles(RUN.upper(), "model"), ["source.run.run_id"]),
        (RunFiles(f"{RUN}/../x", "model"), ["source.run.run_id"]),
        (VersionCopy("", 0), ["source.version.model_name", "source.version.version_number"]),
        (VersionCopy("fraud", -1), ["source.version.version_number"]),
    ],
)
def test_what_names_nothing_is_refused_by_its_path(source: Source | None, paths: list[str]) -> None:
    with pytest.raises(FieldInvalid) as refusal, Fields() as fields:
        sources.judge(fields, source)

    assert list(refusal.value.violations) == paths


def test_a_copy_inherits_what_is_known_of_how_the_model_is_loaded(registry: Registry) -> None:
    registry.a_model("fraud")
    signature, flavors = Signature(inputs="[]"), (Flavor("sklearn", "1.5.2"),)
    version = registry.a_version("fraud", signature=signature, flavors=flavors)

    origin = registry.sources.origin("default", VersionCopy("fraud", 1))

    assert (origin.run_id, origin.signature, origin.flavors) == (version.run_id, signature, flavors)
    assert origin.source == VersionCopy("fraud", 1, version.version_id)


def test_a_copy_of_what_does_not_exist_is_refused(registry: Registry) -> None:
    registry.a_model("fraud")

    with pytest.raises(ModelNotFound):
        registry.sources.origin("default", VersionCopy("none", 1))
    with pytest.raises(ModelNotFound):
        registry.sources.origin("other", VersionCopy("fraud", 1))
    with pytest.raises(VersionNotFound):
        registry.sources.origin("default", VersionCopy("fraud", 1))


def test_without_tracking_no_run_is_found(registry: Registry) -> None:
    with pytest.raises(ServiceUnavailable) as refusal:
        registry.sources.origin("default", RunFiles(RUN, "model"))

    assert refusal.value.metadata["service"] == "tracking"
