"""How many bytes the parts of a run take in an answer, as the store guesses it before it reads them."""

from __future__ import annotations

import pytest

from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Dataset, DatasetInput
from modelry_server.tracking.rpc.runs import message
from modelry_server.tracking.store import runs as store
from tests.server.tracking.room import ONCE, Room, columns

FULL = {
    "description": RunDraft("0", description="é" * 5_000),
    "params": RunDraft("0", params={f"p{i}": "é" * (i % 40) for i in range(300)}),
    "tags": RunDraft("0", tags={f"t{i}": "text" * (i % 20) for i in range(300)}),
    "metrics": RunDraft("0", metrics=[columns(f"metric {i}", [(1, 1_700_000_000_000, 1 << 62)]) for i in range(300)]),
    "datasets": RunDraft("0"),
}


@pytest.mark.parametrize("part", FULL)
def test_the_size_of_each_part_is_about_that_of_its_message(room: Room, part: str) -> None:
    run_id = room.run_creation.create(FULL[part], ONCE).run_id
    if part == "datasets":
        one = Dataset("", "default", "name" * 9, "digest", source_type="local", source="place" * 40)
        room.datasets.log(run_id, [DatasetInput(one, f"context {i}") for i in range(20)])
    with room.db.read() as tx:
        run = store.find(tx, run_id, parts=[part])
        assert run is not None
        [guessed] = store.sizes(tx, [run], [part])
        [all_of_it] = store.sizes(tx, [run])
        [nothing] = store.sizes(tx, [run], [])

    real = message(run, ["run_id", part]).ByteSize()
    assert 0.6 * real < guessed < 1.7 * real
    assert (all_of_it, nothing) == (guessed, 0)
