"""MLflow's words for fields are read as the contract's, for each noun as MLflow means them."""

import pytest

from modelry_server.kernel.filter import Field, FilterSyntax, OrderKey, Words, parse, parse_order, render
from modelry_server.mlflow_words import EXPERIMENTS, MODELS, RUNS, VERSIONS

SCOPES = ("metrics", "params", "tags", "attributes", "datasets")
ALL = (RUNS, EXPERIMENTS, MODELS, VERSIONS)


@pytest.mark.parametrize(
    ("words", "text", "canonical"),
    [
        (RUNS, "run_name = 'first'", "name = 'first'"),
        (RUNS, "`run name` = 'first'", "name = 'first'"),
        (RUNS, "\"Run Name\" = 'first'", "name = 'first'"),
        (RUNS, "attributes.`Run name` = 'first'", "name = 'first'"),
        (RUNS, "attr.user_id = 'ann'", "claimed_user = 'ann'"),
        (RUNS, "created > 1", "start_time > 1"),
        (RUNS, "Created > 1", "start_time > 1"),
        (EXPERIMENTS, "creation_time > 1 AND last_update_time < 5", "create_time > 1 AND update_time < 5"),
        (MODELS, "creation_timestamp > 1 OR last_updated_timestamp < 5", "create_time > 1 OR update_time < 5"),
        (VERSIONS, "name = 'churn' AND NOT source_path IS NULL", "model_name = 'churn' AND NOT source IS NULL"),
        (VERSIONS, "user_id = 'ann' AND creation_timestamp > 1", "creator = 'ann' AND create_time > 1"),
    ],
)
def test_a_word_of_mlflow_is_read_as_the_name_of_the_field(words: Words, text: str, canonical: str) -> None:
    node = parse(text, SCOPES, words=words)

    assert node is not None
    assert render(node) == canonical


@pytest.mark.parametrize("words", ALL)
def test_the_name_of_a_field_stays_as_it_is(words: Words) -> None:
    for field in set(words.names.values()):
        assert parse(f"{field} = 'x'", SCOPES, words=words) == parse(f"{field} = 'x'", SCOPES)


@pytest.mark.parametrize("words", ALL)
def test_keys_that_users_chose_are_never_translated(words: Words) -> None:
    for word in words.names:
        text = f"tags.`{word}` = 'x' AND params.`{word}` = 'x' AND metrics.`{word}` = 1 AND datasets.`{word}` = 'x'"

        assert parse(text, SCOPES, words=words) == parse(text, SCOPES)


def test_a_word_means_what_it_means_for_the_noun() -> None:
    assert parse("name = 'x'", SCOPES, words=MODELS) == parse("name = 'x'", SCOPES)
    assert parse("name = 'x'", SCOPES, words=VERSIONS) == parse("model_name = 'x'", SCOPES)
    assert parse("run_name = 'x'", SCOPES, words=EXPERIMENTS) == parse("run_name = 'x'", SCOPES)


def test_sort_keys_take_the_same_words() -> None:
    keys = parse_order(["Created DESC", "`run name`"], SCOPES, words=RUNS)

    assert keys == (OrderKey(Field("attributes", "start_time"), True), OrderKey(Field("attributes", "name")))
    assert parse_order(["timestamp"], SCOPES, words=MODELS) == parse_order(["update_time"], SCOPES)


def test_a_field_under_both_of_its_names_is_sorted_by_once() -> None:
    with pytest.raises(FilterSyntax, match="each field once"):
        parse_order(["run_name", "name DESC"], SCOPES, words=RUNS)
