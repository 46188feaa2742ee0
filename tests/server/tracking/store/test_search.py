"""Finding runs: both databases find what a filter means, worked out in Python, in the same order, page by page."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.kernel.filter import FilterSyntax, number_of
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Batch, Dataset, DatasetInput, LifecycleFilter, RunStatus
from tests.server.kernel.filter.texts import MLFLOW
from tests.server.tracking.room import ONCE, Room, bits_of, columns

Truth = bool | None
ACTIVE, DELETED, ANY = LifecycleFilter.ACTIVE, LifecycleFilter.DELETED, LifecycleFilter.ANY


@dataclass
class Known:
    """What is known of a run, and therefore what a filter can ask."""

    run_id: str
    experiment_id: str
    workspace: str
    name: str
    user: str
    start: int
    status: str = "RUNNING"
    end: int | None = None
    deleted: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[tuple[str, str, str]] = field(default_factory=list)
    parent: str = ""

    def value(self, scope: str, key: str) -> Any:
        """What a field is; None where the run does not have it."""
        if scope == "metrics":
            found = self.metrics.get(key)
            return None if found is None or math.isnan(found) else found
        if scope == "numbers":
            return number_of(self.params.get(key, ""))
        if scope in ("params", "tags"):
            return (self.params if scope == "params" else self.tags).get(key)
        attributes = {
            "run_id": self.run_id,
            "name": self.name,
            "status": self.status,
            "claimed_user": self.user,
            "start_time": self.start,
            "end_time": self.end,
            "experiment_id": self.experiment_id,
            "parent_run_id": self.parent or None,
        }
        return attributes[key]


class Library:
    """Runs in two workspaces, of which everything is known."""

    def __init__(self, room: Room, runs: list[Known], experiments: list[str], deleted_experiment: str) -> None:
        self.room, self.runs = room, runs
        self.experiments, self.deleted_experiment = experiments, deleted_experiment

    def expected(
        self,
        workspace: str,
        experiments: Sequence[str],
        lifecycle: LifecycleFilter,
        holds: Callable[[Known], Truth],
        order: Sequence[tuple[str, str, bool]],
    ) -> list[str]:
        """The ids that a search must give, in order, worked out the slow way."""
        found = []
        for run in self.runs:
            gone = run.deleted or run.experiment_id == self.deleted_experiment
            alive = {ACTIVE: not gone, DELETED: gone, ANY: True}[lifecycle]
            if run.workspace == workspace and alive and (not experiments or run.experiment_id in experiments):
                found.append(run)
        found = sorted((run for run in found if holds(run) is True), key=lambda run: run.run_id, reverse=True)
        for scope, key, descending in reversed(completed(order) or [("attributes", "start_time", True)]):
            has = [(run.value(scope, key), run) for run in found if run.value(scope, key) is not None]
            has.sort(key=lambda pair: comparable(pair[0]), reverse=descending)  # stable both ways
            found = [run for _, run in has] + [run for run in found if run.value(scope, key) is None]
        return [run.run_id for run in found]

    def found(
        self,
        workspace: str,
        experiments: Sequence[str],
        lifecycle: LifecycleFilter,
        filter: str,
        order: Sequence[str],
        size: int,
    ) -> list[str]:
        """The ids that a search gives, page by page."""
        ids: list[str] = []
        after, more = None, True
        while more:
            found = self.room.runs.search(
                workspace,
                experiment_ids=experiments,
                filter=filter,
                order_by=order,
                lifecycle=lifecycle,
                parts=(),
                after=after,
                limit=size,
            )
            page = list(found)
            assert len(page) <= size
            ids += [each.item.run_id for each in page]
            after, more = (page[-1].key, True) if page else (None, False)
        return ids


def completed(order: Sequence[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    """The keys of an order, with a key for the numbers before that for the texts of a param."""
    return [
        key
        for scope, name, descending in order
        for key in ([("numbers", name, descending)] if scope == "params" else []) + [(scope, name, descending)]
    ]


def comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


@pytest.fixture(scope="session")
def library(kept_room: Room) -> Library:
    room, chance = kept_room, random.Random(20)
    first, second, gone = (room.an_experiment("blue") for _ in range(3))
    elsewhere = room.an_experiment("red")
    runs: list[Known] = []
    for number in range(70):
        run = Known(
            run_id=new_id(),
            experiment_id=chance.choice([first, first, second, gone, elsewhere]),
            workspace="blue",
            name=chance.choice(
                ["alpha", "Alpha", "beta", "a%b", "a_b", "\u00e9t\u00e9", "z\u00fcrich", "'; DROP", "a\\b"]
            ),
            user=chance.choice(["ann", "bob"]),
            start=1_700_000_000_000 + chance.randrange(6),
            metrics={},
        )
        run.workspace = "red" if run.experiment_id == elsewhere else "blue"
        if number % 9 == 4 and runs[-1].workspace == run.workspace:
            run.parent = runs[-1].run_id
        for key in ("acc", "loss/val"):
            if chance.random() < 0.7:
                run.metrics[key] = chance.choice(
                    [0.0, -0.0, 0.5, 0.5, 1.0, 1e308, math.inf, -math.inf, math.nan, 5e-324]
                )
        for values, key in ((run.params, "lr"), (run.tags, "team"), (run.tags, "a b")):
            if chance.random() < 0.7:
                texts = ["0.1", "0.10", "1e-1", "9", "10", "-inf", "nan", "", "Blue", "blue", "bl\u00fce", "50%"]
                values[key] = chance.choice(texts)
        room.run_creation.create(
            RunDraft(
                run.experiment_id,
                name=run.name,
                run_id=run.run_id,
                parent_run_id=run.parent,
                start_time=run.start,
                claimed_user=run.user,
                params=run.params,
                tags=run.tags,
                metrics=[
                    columns(key, [(0, 0, bits_of(9.0)), (1, 0, bits_of(value))]) for key, value in run.metrics.items()
                ],
            ),
            ONCE,
        )
        if chance.random() < 0.4:
            run.status, run.end = chance.choice(["FINISHED", "FAILED", "KILLED"]), chance.randrange(3)
            room.runs.finish(run.run_id, RunStatus[run.status], run.end)
        for name in chance.sample(["mnist", "cifar", "Iris"], chance.choice([0, 0, 1, 2])):
            run.datasets.append((name, name + "-digest", chance.choice(["train", ""])))
            used = Dataset("", "", run.datasets[-1][0], run.datasets[-1][1])
            room.datasets.log(run.run_id, [DatasetInput(used, run.datasets[-1][2])])
        if chance.random() < 0.15:
            run.deleted = True
            room.runs.delete(run.run_id)
        runs.append(run)
    room.experiments.delete(gone)
    return Library(room, runs, [first, second, gone], gone)


Filter = tuple[str, Callable[[Known], Truth]]
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def compared(scope: str, key: str, operator: str, value: float | str) -> Filter:
    shown = quoted(value) if isinstance(value, str) else repr(value)

    def holds(run: Known) -> Truth:
        present, given = run.value(scope, key), value
        if scope == "params" and isinstance(value, float):
            present = run.value("numbers", key)
        elif scope == "params" and operator in ("<", "<=", ">", ">=") and run.value("numbers", key) is not None:
            number = number_of(str(value))
            present, given = (present, value) if number is None else (run.value("numbers", key), number)
        return None if present is None else _OPERATORS[operator](comparable(present), comparable(given))

    return f"{named(scope, key)} {operator} {shown}", holds


def named(scope: str, key: str) -> str:
    return key if scope == "attributes" else f'{scope}."{key}"'


def missing(scope: str, key: str, negated: bool) -> Filter:
    return (
        f"{named(scope, key)} IS {'NOT ' if negated else ''}NULL",
        lambda run: (run.value(scope, key) is None) != negated,
    )


def among(scope: str, key: str, values: list[str], negated: bool) -> Filter:
    def holds(run: Known) -> Truth:
        present = run.value(scope, key)
        return None if present is None else (present in values) != negated

    return f"{named(scope, key)} {'NOT IN' if negated else 'IN'} ({', '.join(map(quoted, values))})", holds


def of_a_dataset(place: int, name: str) -> Filter:
    keys = ("name", "digest", "context")
    return f"datasets.{keys[place]} = {quoted(name)}", lambda run: any(used[place] == name for used in run.datasets)


def both(left: Filter, right: Filter) -> Filter:
    def holds(run: Known) -> Truth:
        truths = (left[1](run), right[1](run))
        return False if False in truths else None if None in truths else True

    return f"({left[0]}) AND ({right[0]})", holds


def either(left: Filter, right: Filter) -> Filter:
    def holds(run: Known) -> Truth:
        truths = (left[1](run), right[1](run))
        return True if True in truths else None if None in truths else False

    return f"({left[0]}) OR ({right[0]})", holds


def opposite(inner: Filter) -> Filter:
    def holds(run: Known) -> Truth:
        truth = inner[1](run)
        return None if truth is None else not truth

    return f"NOT ({inner[0]})", holds


operators = st.sampled_from(sorted(_OPERATORS))
texts = st.sampled_from(
    ["0.1", "0.10", "9", "10", "", "Blue", "blue", "bl\u00fce", "alpha", "'; DROP", "a\\b", "FINISHED"]
)
text_fields = st.sampled_from([("params", "lr"), ("tags", "team"), ("tags", "a b"), ("attributes", "name")])
fields = text_fields | st.sampled_from(
    [("metrics", "acc"), ("attributes", "end_time"), ("attributes", "parent_run_id")]
)
comparisons = st.one_of(
    st.builds(
        compared,
        st.just("metrics"),
        st.sampled_from(["acc", "loss/val", "none"]),
        operators,
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    st.builds(compared, st.just("attributes"), st.sampled_from(["start_time"]), operators, st.just(1_700_000_000_003)),
    st.builds(compared, st.just("attributes"), st.just("end_time"), operators, st.sampled_from([0, 1])),
    st.builds(compared, st.just("attributes"), st.just("status"), st.sampled_from(["=", "!="]), st.just("FINISHED")),
    st.builds(lambda field, op, value: compared(field[0], field[1], op, value), text_fields, operators, texts),
    st.builds(lambda field, negated: missing(field[0], field[1], negated), fields, st.booleans()),
    st.builds(
        lambda field, values, negated: among(field[0], field[1], values, negated),
        text_fields,
        st.lists(texts, min_size=1, max_size=3),
        st.booleans(),
    ),
    st.builds(compared, st.just("params"), st.just("lr"), operators, st.sampled_from([0.1, 9.0, 10.0])),
    st.builds(of_a_dataset, st.integers(0, 2), st.sampled_from(["mnist", "cifar-digest", "train", "iris"])),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.builds(both, inner, inner) | st.builds(either, inner, inner) | st.builds(opposite, inner),
    max_leaves=5,
)
orders = st.lists(
    st.tuples(
        st.sampled_from(
            [
                ("metrics", "acc"),
                ("metrics", "loss/val"),
                ("params", "lr"),
                ("tags", "team"),
                ("attributes", "name"),
                ("attributes", "start_time"),
                ("attributes", "end_time"),
                ("attributes", "status"),
            ]
        ),
        st.booleans(),
    ).map(lambda drawn: (*drawn[0], drawn[1])),
    max_size=3,
    unique_by=lambda key: key[:2],
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    filters | st.just(("", lambda run: True)),
    orders,
    st.sampled_from([ACTIVE, DELETED, ANY]),
    st.sampled_from([(), (0,), (0, 1), (1, 2), (0, 1, 2)]),
    st.sampled_from([1, 2, 3, 7, 20, 1000]),
)
def test_every_page_size_gives_the_sequence_that_the_filter_and_the_order_mean(
    library: Library,
    drawn: Filter,
    order: list[tuple[str, str, bool]],
    lifecycle: LifecycleFilter,
    chosen: tuple[int, ...],
    size: int,
) -> None:
    text, holds = drawn
    experiments = [library.experiments[index] for index in chosen]
    order_by = [f"{named(scope, key)} {'DESC' if descending else 'ASC'}" for scope, key, descending in order]

    found = library.found("blue", experiments, lifecycle, text, order_by, size)

    assert found == library.expected("blue", experiments, lifecycle, holds, order)


def test_a_search_sees_its_workspace_only(library: Library) -> None:
    everything = library.found("blue", [], ANY, "", [], 50) + library.found("red", [], ANY, "", [], 50)

    assert sorted(everything) == sorted(run.run_id for run in library.runs)
    assert len(library.found("red", [], ANY, "", [], 50)) == sum(run.workspace == "red" for run in library.runs)


def test_nothing_is_skipped_or_repeated_while_others_write(library: Library) -> None:
    room, experiment_id = library.room, library.room.an_experiment("blue")
    before = [
        room.run_creation.create(
            RunDraft(experiment_id, metrics=[columns("acc", [(0, 0, bits_of(n % 7))])]), ONCE
        ).run_id
        for n in range(40)
    ]
    order_by = ["metrics.acc DESC"]

    def write() -> Iterator[int]:
        for number in range(60):
            new = RunDraft(experiment_id, metrics=[columns("acc", [(0, 0, bits_of(number % 7))])])
            room.runs.log_batch(Batch(room.run_creation.create(new, ONCE).run_id, tags={"late": "1"}))
            yield number

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: list(write()))
        sequences: list[list[str]] = []
        while not writing.done() or not sequences:
            sequences.append(library.found("blue", [experiment_id], ACTIVE, "", order_by, 3))
    writing.result()

    for sequence in sequences:
        assert len(sequence) == len(set(sequence))
        assert set(before) <= set(sequence)
    assert len(library.found("blue", [experiment_id], ACTIVE, "", order_by, 3)) == 100


@pytest.mark.parametrize("size", [1, 2, 100])
def test_names_at_their_limit_in_every_sort_key_can_be_paged_through(library: Library, size: int) -> None:
    room, experiment_id = library.room, library.room.an_experiment("blue")
    long = "\U0001f600" * 250
    for end in ("a", "b", "c"):
        new = RunDraft(
            experiment_id, long + long[:-1] + end, claimed_user=long, params={"p": long + end}, tags={"t": long + end}
        )
        room.run_creation.create(new, ONCE)
    order_by = ["name", "claimed_user", "params.p", "tags.t", "status", "start_time", "end_time", "experiment_id"]

    found = library.found("blue", [experiment_id], ACTIVE, "", order_by, size)

    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("filter", "order_by", "field", "column", "said"),
    [
        ("metrics.acc >> 1", [], "filter", 13, ">>"),
        ("params.lr = ", [], "filter", 12, ""),
        ("colour = 'red'", [], "filter", 1, "claimed_user"),
        ("status = 'DONE'", [], "filter", 10, "'FINISHED'"),
        ("metrics.acc = 'x'", [], "filter", 15, "a number"),
        ("tags.lr = 1", [], "filter", 11, "a text in quotes"),
        ("params.lr IN ('a', 1)", [], "filter", 15, "a text in quotes"),
        ("params.lr IN (1, 'a')", [], "filter", 15, "a number"),
        ("datasets.colour = 'x'", [], "filter", 1, "datasets.name"),
        ("", ["metrics.acc", "colour"], "order_by[1]", 1, "claimed_user"),
        ("", ["metrics.acc SIDEWAYS"], "order_by[0]", 13, "DESC"),
        ("", ["datasets.name"], "order_by[0]", 1, ""),
    ],
)
def test_what_can_not_be_read_is_refused_at_the_character(
    library: Library, filter: str, order_by: list[str], field: str, column: int, said: str
) -> None:
    with pytest.raises(FilterSyntax) as caught:
        list(library.room.runs.search("blue", filter=filter, order_by=order_by, after=None, limit=10))

    assert list(caught.value.violations) == [field]
    assert caught.value.metadata["column"] == str(column)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "filter",
    [
        "name = 'a\0b'",
        "params.lr LIKE '%\0%'",
        "start_time > 99999999999999999999999",
        "end_time < -99999999999999999999999",
        "metrics.acc > 1e400",
        "start_time = 1.5",
        "name = '" + "x" * 3000 + "'",
        "tags.\"a'); DROP TABLE runs; --\" = 'x'",
        "name LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%b'",
    ],
)
def test_strange_values_are_refused_or_find_nothing(library: Library, filter: str) -> None:
    try:
        found = library.found("blue", [], ANY, filter, [], 10)
    except FilterSyntax:
        found = []

    assert found == [] or "end_time" in filter


NO_FIELDS_OF_RUNS = {"artifact_uri", "creation_time", "last_update_time", "version_number", "source_path"}


@pytest.mark.parametrize("text", [text for text, _ in MLFLOW if not any(word in text for word in NO_FIELDS_OF_RUNS)])
def test_the_filters_of_mlflow_find_runs(library: Library, text: str) -> None:
    list(library.room.runs.search("blue", filter=text, after=None, limit=1))


def test_an_error_names_the_fields_by_the_words_of_the_contract_only(library: Library) -> None:
    with pytest.raises(FilterSyntax) as caught:
        list(library.room.runs.search("blue", filter="user = 'ann'", after=None, limit=1))

    listed = caught.value.metadata["expected"]
    assert listed == (
        "one of metrics.<key>, params.<key>, tags.<key>, datasets.name, datasets.digest, datasets.context, run_id, "
        "name, status, creator, claimed_user, start_time, end_time, experiment_id, parent_run_id"
    )
