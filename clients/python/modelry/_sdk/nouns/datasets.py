"""Datasets that runs used."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelry._sdk.datasets import taken
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry._sdk.values.plain import plain
from modelry.api.tracking import v1 as tracking
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")

_LONGEST = {"name": 500, "digest": 128, "source_type": 250, "source": 64_000, "schema": 1_000_000, "profile": 1_000_000}
"""The most characters of a field; of a schema and a profile, which have 2 MiB together, the most bytes."""
_GIVEN = ("name", "digest", "source_type", "source", "schema", "profile")
"""The fields of a dataset that a client gives; the server adds the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset as the server has it. To log one, name and digest are enough.

    `schema` and `profile` are JSON. Searches leave them out.
    """

    dataset_id: str = ""
    workspace: str = ""
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run used, and what it was used for, such as `training`."""

    dataset: Dataset
    context: str = ""


@arguments.texts_checked
class Datasets:
    """Records which datasets runs used, and finds datasets."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def log(self, run_id: str, inputs: Iterable[DatasetInput]) -> list[Dataset]:
        """Adds datasets to a run, all or none. Returns them as they are stored, in the same order.

        A dataset that the run has already, in the same context, is not added again. Raises RunNotFound, RunDeleted or
        FieldInvalid.
        """
        request = tracking.LogDatasetsRequest(run_id=run_id, inputs=[input_message(given) for given in inputs])
        answer = self._connection.call(tracking.rpcs.LOG_DATASETS, request)
        return [_dataset_of(message) for message in answer.datasets]

    def get(self, dataset_id: str) -> Dataset:
        """Reads a dataset with its schema and profile. Raises DatasetNotFound."""
        request = tracking.GetDatasetRequest(dataset_id=dataset_id)
        return _dataset_of(self._connection.call(tracking.rpcs.GET_DATASET, request).dataset)

    def search(self, filter: str = "", *, max_results: int | None = None, page_size: int = 100) -> LazyList[Dataset]:
        """Finds datasets, the newest first. Raises FilterSyntax when the list is read."""

        request = tracking.SearchDatasetsRequest(workspace=self._workspace, filter=filter)

        def fetch(size: int, token: str) -> tuple[list[Dataset], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(tracking.rpcs.SEARCH_DATASETS, request)
            return [_dataset_of(message) for message in page.datasets], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)


def input_message(given: DatasetInput) -> tracking.DatasetInput:
    """The message of a dataset input. Raises InvalidArgument for a field that is no text."""
    message = tracking.Dataset()
    for name in _GIVEN:
        setattr(message, name, arguments.text(f"dataset.{name}", getattr(given.dataset, name)))
    return tracking.DatasetInput(dataset=message, context=arguments.text("context", given.context))


def input_of(message: tracking.DatasetInput) -> DatasetInput:
    """The dataset input that a message holds."""
    return DatasetInput(dataset=_dataset_of(message.dataset), context=message.context)


def _dataset_of(message: tracking.Dataset) -> Dataset:
    return Dataset(
        name=message.name,
        digest=message.digest,
        source_type=message.source_type,
        source=message.source,
        schema=message.schema,
        profile=message.profile,
        dataset_id=message.dataset_id,
        workspace=message.workspace,
        create_time=time_of(message, "create_time"),
    )


def dataset_from(dataset: Any) -> Dataset:
    """What is recorded of a dataset: one of `modelry.data`, or anything with a name, a digest and perhaps a source.

    A table, an array, a dataset of Hugging Face and a path are described first. Raises InvalidArgument if name or
    digest is missing, and what `modelry.data.from_files` and `from_dvc` raise.
    """
    if isinstance(dataset, Dataset):
        return replace(dataset, **_fitting({name: getattr(dataset, name) for name in _GIVEN}))
    dataset = taken.described(dataset) or dataset
    name, digest = getattr(dataset, "name", ""), getattr(dataset, "digest", "")
    if not name or not digest:
        raise InvalidArgument(
            f"{type(dataset).__name__} is not a dataset: it has no name or no digest; "
            "create one with modelry.data.from_pandas(...) or another function of modelry.data"
        )
    described = dataset.to_dict() if callable(getattr(dataset, "to_dict", None)) else {}
    source = described.get("source", getattr(dataset, "source", ""))
    said = {field: described.get(field, "") for field in ("source_type", "schema", "profile")}
    return Dataset(**_fitting({"name": name, "digest": digest, "source": source, **said}))


def _fitting(given: Mapping[str, object]) -> dict[str, Any]:
    """The fields of a dataset as texts that the server takes. What is too long is cut, with a note in the log.

    A long digest becomes the digest of it. A long schema or profile, which is no JSON any more if it is cut, becomes
    JSON that says how long it was.
    """
    texts = {field: _text(value) for field, value in given.items()}
    for field, longest in _LONGEST.items():
        text = texts.get(field, "")
        size = len(text.encode()) if field in ("schema", "profile") else len(text)
        if size <= longest:
            continue
        if field == "digest":
            texts[field] = hashlib.sha256(text.encode()).hexdigest()
        elif field in ("schema", "profile"):
            texts[field] = json.dumps({"left_out": f"{size} bytes, at most {longest} can be recorded"})
        else:
            texts[field] = f"{text[: longest - 1]}…"
        log.warning("the %s of dataset %.80r is cut, from %d to %d", field, texts["name"], size, longest)
    return texts


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(plain(value)) if isinstance(value, Mapping | list | tuple) else arguments.converted(value)
