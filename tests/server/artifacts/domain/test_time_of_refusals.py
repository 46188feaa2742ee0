"""That a run has files does not show in the time that its refusal takes: tracking is asked, as for any other."""

from __future__ import annotations

from modelry_server.artifacts.domain.paths import ArtifactPath
from modelry_server.artifacts.entities import Owner
from modelry_server.kernel import caller
from modelry_server.kernel.ids import new_id
from tests.parts.judge import calling
from tests.parts.timing import ratio
from tests.server.artifacts.conftest import Files


def test_a09_what_is_not_seen_takes_as_long_as_what_is_not_there(files: Files, run: Owner) -> None:
    files.write(run, {"a": b"1"})
    absent = Owner.run(new_id())

    with caller.using(calling("bob", "artifacts", "GetArtifact")):
        found = ratio(
            lambda: files.artifacts.get(run, ArtifactPath("a")), lambda: files.artifacts.get(absent, ArtifactPath("a"))
        )

    assert 0.6 < found < 1.66
