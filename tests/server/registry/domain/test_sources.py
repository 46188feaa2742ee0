"""A source names a run or a version of this system, and nothing else."""

import pytest

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import sources
from modelry_server.registry.domain.sources import RunSource, VersionSource

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("source", "meaning"),
    [
        (f"runs:/{RUN}/model", RunSource(RUN, "model")),
        (f"runs:/{RUN}/a/b c/mödel.pkl", RunSource(RUN, "a/b c/mödel.pkl")),
        (f"runs:/{RUN}/..a/b..", RunSource(RUN, "..a/b..")),
        ("models:/fraud/3", VersionSource("fraud", 3)),
        ("models:/Betrug & Co./12", VersionSource("Betrug & Co.", 12)),
    ],
)
def test_a_source_is_a_path_of_a_run_or_a_version(source: str, meaning: RunSource | VersionSource) -> None:
    with Fields() as fields:
        assert sources.parse(fields, source) == meaning


@pytest.mark.parametrize(
    "source",
    [
        "",
        "file:///etc/",
        "file:/etc/passwd",
        "/etc",
        "../../../etc",
        "C:\\x",
        "http://example.org/model",
        "https://example.org/model",
        "s3://other/model",
        "gs://other/model",
        "dbfs:/model",
        "mlflow-artifacts:/model",
        "runs:",
        "runs:/",
        f"runs:/{RUN}",
        f"runs:/{RUN}/",
        f"runs://{RUN}/model",
        f"Runs:/{RUN}/model",
        f"runs:/{RUN.upper()}/model",
        f"runs:/{RUN[:-1]}/model",
        f"runs:/{RUN}//model",
        f"runs:/{RUN}//etc/passwd",
        f"runs:/{RUN}/../x",
        f"runs:/{RUN}/a/../../x",
        f"runs:/{RUN}/a/./b",
        f"runs:/{RUN}/a/",
        f"runs:/{RUN}/a\nb",
        f"runs:/{RUN}/a\0b",
        f" runs:/{RUN}/model",
        "models:/fraud",
        "models:/fraud/0",
        "models:/fraud/-1",
        "models:/fraud/01",
        "models:/fraud/Production",
        "models:/fraud/latest",
        "models:/fraud@champion",
        "models:/a/b/3",
        "models:/fraud/3/x",
        "models:/fraud/9999999999999999999",
        "models:/fraud/3\n",
        f"runs:/{RUN}/" + "x" * 2000,
    ],
)
def test_anything_else_is_refused(source: str) -> None:
    with pytest.raises(FieldInvalid) as refusal, Fields() as fields:
        assert sources.parse(fields, source) is None

    assert list(refusal.value.violations) == ["source"]
