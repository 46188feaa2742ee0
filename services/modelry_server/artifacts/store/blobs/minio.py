"""Content in MinIO or another S3: `blobs/<key>` in one bucket. Only calls that other servers have too."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, BinaryIO, Self, cast

import urllib3
import urllib3.connection
from minio import Minio
from minio.error import MinioException, S3Error

from modelry_server.artifacts.errors import StoreUnavailable
from modelry_server.artifacts.store.blobs import PIECE, BlobMissing, StoredBlob, is_key
from modelry_server.kernel.telemetry import Log

_PREFIX = "blobs/"
_PART = 16 << 20
_MOST_PARTS = 10_000
_CONNECT_S = 5
_WAIT_S = 60  # for the store to take `_SENT` bytes, and for the next bytes of an answer
_SENT = 1 << 20
_MISSING = {"NoSuchKey", "InvalidRange"}
_log = Log("artifacts")


class MinioBlobs:
    """Content in a bucket. See `Blobs`.

    `endpoint` is `host:port`. The bucket is made at the first use if it is missing; nothing is asked of the store
    before. `connections` bounds how many are kept open. A put holds one part in memory: 16 MiB, and more for content
    above 156 GiB, since an S3 takes at most 10,000 parts (525 MiB for 5 TiB).
    """

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        region: str,
        secure: bool,
        connections: int,
    ) -> None:
        pool = urllib3.PoolManager(
            maxsize=connections,
            block=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_WAIT_S),
            retries=_OneRetry(total=1, backoff_factor=0.1, status_forcelist=[500, 502, 503, 504]),
        )
        pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        self._client = Minio(
            endpoint, access_key=access_key, secret_key=secret_key, region=region, secure=secure, http_client=pool
        )
        self._pool = pool
        self._bucket = bucket
        self._lock = threading.Lock()
        self._bucket_is_there = False

    def put(self, key: str, pieces: Iterable[bytes], size: int) -> None:
        """Stores content; see `Blobs.put`."""
        self._need_bucket()
        part = max(_PART, -(-size // _MOST_PARTS))
        content = cast(BinaryIO, _Reader(pieces))
        with self._translated():  # one part at a time: the library's own threads would outlive a put that breaks off
            self._client.put_object(self._bucket, _name(key), content, size, part_size=part, num_parallel_uploads=1)

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """The content from a byte on; see `Blobs.read`."""
        if offset and offset == self.stat(key):
            return  # a range that begins at the end is an error in S3
        with self._translated(key):
            response = self._client.get_object(self._bucket, _name(key), offset=offset)
            try:
                yield from response.stream(PIECE)
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> int | None:
        """The size of an object; see `Blobs.stat`."""
        try:
            with self._translated(key):
                return self._client.stat_object(self._bucket, _name(key)).size
        except BlobMissing:
            return None

    def delete(self, key: str) -> None:
        """Deletes an object; see `Blobs.delete`."""
        with self._translated():
            self._client.remove_object(self._bucket, _name(key))

    def stored(self) -> Iterator[StoredBlob]:
        """All objects; see `Blobs.stored`. Parts of puts that failed are left to a lifecycle rule of the bucket."""
        self._need_bucket()
        with self._translated():
            for entry in self._client.list_objects(self._bucket, prefix=_PREFIX, recursive=True):
                key = (entry.object_name or "").removeprefix(_PREFIX)
                if is_key(key) and entry.last_modified:
                    yield StoredBlob(key, int(entry.last_modified.astimezone(UTC).timestamp() * 1000))

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _need_bucket(self) -> None:
        if self._bucket_is_there:
            return
        with self._lock, self._translated():
            if not self._client.bucket_exists(self._bucket):
                try:
                    self._client.make_bucket(self._bucket)
                    _log.info("bucket.made", bucket=self._bucket)
                except S3Error as error:
                    if error.code != "BucketAlreadyOwnedByYou":  # another process was faster
                        raise
            self._bucket_is_there = True

    @contextmanager
    def _translated(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            if key and error.code in _MISSING:
                raise BlobMissing(key) from error
            answer = f"{error.code}: {error.message}"
            _log.seldom("blobs.failed", per=str(error.code), cause=answer, bucket=self._bucket)
            raise StoreUnavailable(f"it answers {error.code}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            cause = getattr(error, "reason", None) or error
            _log.seldom("blobs.failed", per=type(cause).__name__, cause=str(cause), bucket=self._bucket)
            raise StoreUnavailable("it does not answer") from error


class _OneRetry(urllib3.Retry):
    """Repeats a request, but for one that the store has left without an answer for a minute."""

    def increment(
        self, method: Any = None, url: Any = None, response: Any = None, error: Any = None, *more: Any, **named: Any
    ) -> Self:
        """What is left of the retries. Raises the error if there are none."""
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        if isinstance(error, urllib3.exceptions.ProtocolError) and isinstance(error.args[-1], TimeoutError):
            raise error  # it timed out while it was sent
        return super().increment(method, url, response, error, *more, **named)


class _Patient(urllib3.connection.HTTPConnection):
    """A connection that gives the store time for each MiB. By itself, all of a part must be sent in `_CONNECT_S`."""

    def send(self, data: Any) -> None:
        """Sends headers, or a body."""
        if self.sock is not None:
            self.sock.settimeout(_WAIT_S)
        if not isinstance(data, bytes):
            super().send(data)
            return
        whole = memoryview(data)
        for at in range(0, len(whole), _SENT):
            super().send(whole[at : at + _SENT])


class _PatientSecure(_Patient, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Patient


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PatientSecure


class _Reader:
    """Pieces as a file. A read gives as many bytes as asked, and fewer only at the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        got, length = [self._rest], len(self._rest)
        while length < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            got.append(piece)
            length += len(piece)
        content = b"".join(got)
        self._rest = content[size:]
        return content[:size] if self._rest else content


def _name(key: str) -> str:
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key")
    return _PREFIX + key
