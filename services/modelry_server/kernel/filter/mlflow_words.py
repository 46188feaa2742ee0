"""MLflow's words for the fields of a filter or a sort key, and the words of the contract for them.

The contract's words are the names of its fields. Code that was written for MLflow uses others: they mean the same, here
and nowhere else. `user_id` is what the client says of itself in a run, but the caller in a version.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Noun: TypeAlias = Literal["run", "experiment", "dataset", "model", "version"]
"""What a search finds. The same word can mean different fields of different nouns."""

WORDS: Mapping[Noun, Mapping[str, str]] = {
    "run": {
        "run_name": "name",
        "run name": "name",
        "Run name": "name",
        "Run Name": "name",
        "user_id": "claimed_user",
        "created": "start_time",
        "Created": "start_time",
    },
    "experiment": {
        "creation_time": "create_time",
        "last_update_time": "update_time",
    },
    "dataset": {},
    "model": {
        "creation_timestamp": "create_time",
        "last_updated_timestamp": "update_time",
        "timestamp": "update_time",
    },
    "version": {
        "name": "model_name",
        "source_path": "source",
        "user_id": "creator",
        "creation_timestamp": "create_time",
        "last_updated_timestamp": "update_time",
    },
}
"""Noun -> word of MLflow -> word of the contract, for attributes. The aliases of scopes, such as `metric.`, are in
`syntax.py`: they are the same for all nouns."""
