"""MLflow's words for fields are read as the contract's, for each noun as MLflow means them."""

import pytest

from modelry_server.kernel.filter import Field, FilterSyntax, Noun, OrderKey, parse, parse_order, render
from modelry_server.kernel.filter.mlflow_words import WORDS

SCOPES = ("metrics", "params", "tags", "attributes", "datasets")


@pytest.mark.parametrize(
    ("noun", "text", "canonical"),
    [
        ("run", "run_name = 'first'", "name = 'first'"),
        ("run", "`run name` = 'first'", "name = 'first'"),
        ("run", "\"Run Name\" = 'first'", "name = 'first'"),
        ("run", "attributes.`Run name` = 'first'", "name = 'first'"),
        ("run", "attr.user_id = 'ann'", "claimed_user = 'ann'"),
        ("run", "created > 1", "start_time > 1"),
        ("run", "Created > 1", "start_time > 1"),
        ("experiment", "creation_time > 1 AND last_update_time < 5", "create_time > 1 AND update_time < 5"),
        ("model", "creation_timestamp > 1 OR last_updated_timestamp < 5", "create_time > 1 OR update_time < 5"),
        ("version", "name = 'churn' AND NOT source_path IS NULL", "model_name = 'churn' AND NOT source IS NULL"),
        ("version", "user_id = 'ann' AND creation_timestamp > 1", "creator = 'ann' AND create_time > 1"),
    ],
)
def test_a_word_of_mlflow_is_read_as_the_name_of_the_field(noun: Noun, text: str, canonical: str) -> None:
    node = parse(text, SCOPES, noun=noun)

    assert node is not None
    assert render(node) == canonical


@pytest.mark.parametrize("noun", list(WORDS))
def test_the_name_of_a_field_stays_as_it_is(noun: Noun) -> None:
    for field in set(WORDS[noun].values()):
        assert parse(f"{field} = 'x'", SCOPES, noun=noun) == parse(f"{field} = 'x'", SCOPES)


@pytest.mark.parametrize("noun", list(WORDS))
def test_keys_that_users_chose_are_never_translated(noun: Noun) -> None:
    for word in WORDS[noun]:
        text = f"tags.`{word}` = 'x' AND params.`{word}` = 'x' AND metrics.`{word}` = 1 AND datasets.`{word}` = 'x'"

        assert parse(text, SCOPES, noun=noun) == parse(text, SCOPES)


def test_a_word_means_what_it_means_for_the_noun() -> None:
    assert parse("name = 'x'", SCOPES, noun="model") == parse("name = 'x'", SCOPES)
    assert parse("name = 'x'", SCOPES, noun="version") == parse("model_name = 'x'", SCOPES)
    assert parse("run_name = 'x'", SCOPES, noun="experiment") == parse("run_name = 'x'", SCOPES)


def test_sort_keys_take_the_same_words() -> None:
    keys = parse_order(["Created DESC", "`run name`"], SCOPES, noun="run")

    assert keys == (OrderKey(Field("attributes", "start_time"), True), OrderKey(Field("attributes", "name")))
    assert parse_order(["timestamp"], SCOPES, noun="model") == parse_order(["update_time"], SCOPES)


def test_a_field_under_both_of_its_names_is_sorted_by_once() -> None:
    with pytest.raises(FilterSyntax, match="each field once"):
        parse_order(["run_name", "name DESC"], SCOPES, noun="run")
