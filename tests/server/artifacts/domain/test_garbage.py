"""What nothing refers to goes away, what something refers to never does."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.artifacts.domain.incoming import IncomingFile
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import ArtifactNotFound, StoreUnavailable
from modelry_server.artifacts.store import digests
from modelry_server.artifacts.store.blobs import new_key
from modelry_server.kernel.errors import DatabaseUnavailable
from modelry_server.kernel.sql.database import ConcurrentChange
from tests.parts.clock import HeldClock
from tests.parts.eventually import eventually
from tests.server.artifacts.conftest import GRACE_S, Files, incoming

GRACE_MS = GRACE_S * 1000


def test_content_goes_after_the_grace_time_when_its_last_file_is_gone(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    files.write(run, {"a": b"one", "b": b"two"})
    files.delete(run, "a")
    clock.advance(GRACE_MS - 1)
    assert files.garbage.collect() == 0

    clock.advance(1)

    assert files.garbage.collect() == 1
    assert files.stored() == 1
    assert files.read(run) == {"b": b"two"}


def test_content_goes_when_its_file_is_replaced(files: Files, run: Owner, clock: HeldClock) -> None:
    files.write(run, {"a": b"one"})
    files.write(run, {"a": b"two"})
    clock.advance(GRACE_MS)

    assert files.garbage.collect() == 1
    assert files.read(run) == {"a": b"two"}


def test_content_that_another_file_has_is_kept(files: Files, run: Owner, clock: HeldClock) -> None:
    other = files.new_run()
    files.write(run, {"a": b"same", "b": b"same"})
    files.write(other, {"c": b"same"})
    files.delete(run, "a")
    files.delete(other, "c")
    clock.advance(GRACE_MS)

    assert files.garbage.collect() == 0
    assert files.read(run) == {"b": b"same"}

    files.delete(run, "b")
    clock.advance(GRACE_MS)

    assert files.garbage.collect() == 1


def test_content_of_a_version_is_kept_until_its_snapshot_is_deleted(files: Files, run: Owner, clock: HeldClock) -> None:
    version = files.new_version()
    files.write(run, {"m/a": b"one", "m/b": b"two"})
    files.freeze(version, run)
    files.delete(run, "m")
    clock.advance(GRACE_MS)

    assert files.garbage.collect() == 0
    assert files.read(version) == {"m/a": b"one", "m/b": b"two"}

    files.snapshots.delete(version.id)
    clock.advance(GRACE_MS)

    assert files.garbage.collect() == 2
    assert files.stored() == 0


def test_content_that_comes_back_in_time_is_kept(files: Files, run: Owner, clock: HeldClock) -> None:
    files.write(run, {"a": b"one"})
    files.delete(run, "a")
    clock.advance(GRACE_MS)

    files.write(run, {"again": b"one"})

    assert files.garbage.collect() == 0
    assert files.read(run) == {"again": b"one"}


def test_content_that_comes_back_too_late_is_stored_anew(files: Files, run: Owner, clock: HeldClock) -> None:
    files.write(run, {"a": b"one"})
    files.delete(run, "a")
    clock.advance(GRACE_MS)
    files.garbage.collect()

    files.write(run, {"again": b"one"})

    assert files.read(run) == {"again": b"one"}


def test_what_a_killed_server_left_goes_after_the_grace_time(files: Files, run: Owner, clock: HeldClock) -> None:
    files.write(run, {"a": b"one"})
    files.blobs.put(new_key(), [b"never committed"], 15)
    assert files.garbage.collect_orphans() == 0

    clock.advance(GRACE_MS + 60_000)

    assert files.garbage.collect_orphans() == 1
    assert files.stored() == 1
    assert files.read(run) == {"a": b"one"}


def test_a_stream_whose_content_was_deleted_as_garbage_is_refused_and_can_be_sent_again(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    def stream() -> Iterator[IncomingFile]:
        yield incoming("a", b"one")
        yield incoming("b", bytes(1_000_000))
        assert eventually(lambda: files.stored() == 2)  # small files are put by other threads
        clock.advance(GRACE_MS + 60_000)  # a clock that jumps, or an upload that takes for ever
        assert files.garbage.collect_orphans() >= 1

    with pytest.raises(ConcurrentChange, match="send the call again"):
        files.take(run, stream())

    assert files.list(run) == []
    files.write(run, {"a": b"one"})
    assert files.read(run) == {"a": b"one"}


def test_content_stays_while_nobody_knows_whether_its_rows_were_committed(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    def lost_connection() -> bool:
        raise DatabaseUnavailable("artifacts")

    with pytest.raises(DatabaseUnavailable):
        files.write(run, {"a": b"one"}, is_wanted=lost_connection)

    assert files.stored() == 1
    clock.advance(GRACE_MS + 60_000)
    assert files.garbage.collect_orphans() == 1


def test_content_marked_for_deletion_is_deleted_even_if_the_collector_died(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    files.write(run, {"a": b"one"})
    files.delete(run, "a")
    clock.advance(GRACE_MS)
    with files.db.write() as tx:
        [(blob, since)] = digests.released(tx, clock.now(), 10)
        assert digests.mark_for_deletion(tx, blob, since, clock.now())
    assert files.stored() == 1
    clock.advance(GRACE_MS)

    files.garbage.collect()

    assert files.stored() == 0
    with files.db.read() as tx:
        assert digests.marked(tx, clock.now(), 10) == []


def test_garbage_and_a_writer_of_the_same_content_at_once_leave_the_writer_whole(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    for turn in range(10):
        content = b"content %d" % turn
        files.write(run, {"old": content})
        files.delete(run, "old")
        clock.advance(GRACE_MS)
        started = threading.Event()
        collected: list[Future[int]] = []

        with ThreadPoolExecutor(1) as pool:

            def collect(started: threading.Event = started) -> int:
                started.set()
                return files.garbage.collect()

            def still_there() -> bool:  # called within the writer's transaction, right before it commits
                collected.append(pool.submit(collect))  # noqa: B023
                return started.wait(10)  # noqa: B023

            files.write(run, {"new": content}, is_wanted=still_there)
            collected[0].result()

        assert files.read(run) == {"new": content}


def test_no_file_is_ever_without_its_content(files: Files) -> None:
    """Writers, deleters, snapshots and a hasty collector on few contents, in any order that threads bring about."""
    runs = [files.new_run() for _ in range(3)]
    ahead = HeldClock(files.clock.now() + 7_200_000)  # for the collector everything idle is old enough
    hasty = Garbage(files.db, files.blobs, ahead, pool=files.pool, grace_s=3600)
    done = threading.Event()
    versions: list[Owner] = []

    def collect() -> int:
        total = 0
        while not done.is_set():
            total += hasty.collect() + hasty.collect_orphans()
        return total

    def work(seed: int) -> int:
        chance = random.Random(seed)
        refused = 0
        for _ in range(60):
            run = chance.choice(runs)
            content = {f"f{chance.randrange(4)}": b"content %d" % chance.randrange(5) for _ in range(2)}
            try:
                match chance.randrange(4):
                    case 0 | 1:
                        files.write(run, content)
                    case 2:
                        files.delete(run, f"f{chance.randrange(4)}")
                    case 3:
                        version = files.new_version()
                        files.freeze(version, run)
                        versions.append(version)
            except (ArtifactNotFound, ConcurrentChange, StoreUnavailable):
                refused += 1
        return refused

    with ThreadPoolExecutor(5) as pool:
        collecting = pool.submit(collect)
        workers = [pool.submit(work, seed) for seed in range(4)]
        wait(workers)
        done.set()
        assert sum(worker.result() for worker in workers) < 4 * 60
        assert collecting.result() > 0

    for owner in [*runs, *versions]:
        for content in files.read(owner).values():
            assert content.startswith(b"content ")
