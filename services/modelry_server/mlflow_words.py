"""MLflow's words for the fields of a filter or a sort key, and the words of the contract for them.

The contract's words are the names of its fields. Code that was written for MLflow uses others: they mean the same, here
and nowhere else. The same word can mean different fields of different nouns: `user_id` is what the client says of
itself in a run, but the caller in a version. Datasets have no words of their own. The aliases of scopes, such as
`metric.`, are the same for all nouns, so they are part of the language (`kernel/filter`). `keys` says how keys look
that are not any text.
"""

from modelry_server.kernel.filter import Words

RUNS = Words(
    {
        "run_name": "name",
        "run name": "name",
        "Run name": "name",
        "Run Name": "name",
        "user_id": "claimed_user",
        "created": "start_time",
        "Created": "start_time",
    },
    keys={"datasets": "<name, digest or context>"},
)
EXPERIMENTS = Words(
    {
        "creation_time": "create_time",
        "last_update_time": "update_time",
    }
)
MODELS = Words(
    {
        "creation_timestamp": "create_time",
        "last_updated_timestamp": "update_time",
        "timestamp": "update_time",
    }
)
VERSIONS = Words(
    {
        "name": "model_name",
        "source_path": "source",
        "user_id": "creator",
        "creation_timestamp": "create_time",
        "last_updated_timestamp": "update_time",
    },
    keys={"evaluation": "<name>.<metric>"},
)
