"""Datasets that runs used."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.tracking import v1 as tracking
from modelry.errors import InvalidArgument

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

    Raises InvalidArgument if name or digest is missing.
    """
    if isinstance(dataset, Dataset):
        given: dict[str, Any] = {name: arguments.converted(getattr(dataset, name)) for name in _GIVEN}
        return replace(dataset, **given)
    name, digest = getattr(dataset, "name", None), getattr(dataset, "digest", None)
    if not name or not digest:
        raise InvalidArgument(
            f"{type(dataset).__name__} is not a dataset: it has no name or no digest; "
            "create one with modelry.data.from_pandas(...)"
        )
    described = dataset.to_dict() if callable(getattr(dataset, "to_dict", None)) else {}
    source = described.get("source", getattr(dataset, "source", ""))
    return Dataset(
        name=name,
        digest=arguments.converted(digest),
        source_type=arguments.converted(described.get("source_type", "")),
        source=_text(source),
        schema=_text(described.get("schema", "")),
        profile=_text(described.get("profile", "")),
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    return arguments.converted(value if isinstance(value, str) else json.dumps(value, default=str))
