"""Lists of files as a server sends them: read in bounded time and memory, and compared with what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from modelry._sdk.files import owners, paths
from modelry._sdk.transport.answers import malformed
from modelry._sdk.transport.connection import Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.api.artifacts.v1 import rpcs
from modelry.errors import DataLoss

Listing = Mapping[str, artifacts.Artifact]
"""Files by their path."""

_MOST_SURPLUS = 100_000
"""How many more files than announced a list may hold: a run may get files meanwhile."""
_MOST_EMPTY_PAGES = 100


def listed(connection: Connection, owner: str, path: str, file_count: int) -> Listing:
    """All files at or below a path, of which there should be `file_count`.

    Raises DataLoss for a list that can't be: with a path twice or out of order, or one without an end.
    """
    found: dict[str, artifacts.Artifact] = {}
    token, last, empty = "", "", 0
    while True:
        request = artifacts.ListArtifactsRequest(
            owner=owners.to_read(owner, path), path=path, recursive=True, page_size=1000, page_token=token
        )
        page = connection.call(rpcs.LIST_ARTIFACTS, request)
        for artifact in page.artifacts:
            # By code points is the order of the bytes in UTF-8.
            if paths.checked(artifact.path) <= last:
                raise malformed(f"a list of files with {artifact.path!r} after {last!r}")
            last = artifact.path
            found[last] = artifact
        token = page.next_page_token
        empty = 0 if page.artifacts else empty + 1
        if not token:
            return found
        if empty > _MOST_EMPTY_PAGES or len(found) > file_count + _MOST_SURPLUS:
            raise malformed(f"a list without an end of files at {path!r}, where it has announced {file_count}")


def require_manifest(listing: Listing, manifest_sha256: str, owner: str) -> None:
    """Raises DataLoss unless these are the files of a version, by the rule of `Version.manifest_sha256`."""
    digest = hashlib.sha256()
    for path in sorted(listing):
        file = listing[path]
        digest.update(f"{file.sha256} {file.size_bytes} {path}\n".encode())
    if digest.hexdigest() != manifest_sha256:
        raise DataLoss(
            f"the {len(listing)} files that the server has of {owner} are not those that were registered: their "
            f"manifest has the SHA-256 {digest.hexdigest()}, and that of the version is {manifest_sha256}",
            reason="MANIFEST_MISMATCH",
            metadata={"owner": owner, "expected": manifest_sha256, "actual": digest.hexdigest()},
        )


def below(listing: Listing, path: str) -> Listing:
    """The files at or below a path."""
    return {each: file for each, file in listing.items() if not path or each == path or each.startswith(f"{path}/")}


def require_same(listing: Listing, files: Iterable[artifacts.Artifact]) -> None:
    """Raises DataLoss if a file is not in the list with the same content."""
    for file in files:
        known = listing.get(file.path)
        if known is None or (known.sha256, known.size_bytes) != (file.sha256, file.size_bytes):
            raise malformed(f"{file.path!r} with other content than in its list of files")
