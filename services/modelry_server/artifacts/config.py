"""Settings of artifacts."""

import re
from dataclasses import dataclass

from modelry_server.kernel.config import Address, Duration, Secret, in_folder, setting
from modelry_server.kernel.sql.settings import DatabaseSettings

_S3_REQUIRED = {
    "s3_endpoint": "the address of the server, such as 'minio.example:9000'",
    "s3_bucket": "the name of a bucket, such as 'modelry'",
    "s3_access_key": "the name of a key of the store",
    "s3_secret_key": "the secret of that key",
}
# Either says that another store is meant than `local`. The key alone does not: it may be in the environment of a shell
# that runs other commands, too.
_S3_PLACE = ("s3_endpoint", "s3_bucket")
_ENDPOINT = re.compile(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?\Z")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z")


@dataclass(frozen=True, slots=True)
class ArtifactsConfig(DatabaseSettings):
    """Files, and where their content is stored."""

    address: Address = setting("127.0.0.1:5103", "Where clients reach artifacts, as `host:port`.", least=1)
    internal_address: Address = setting(
        "",
        "Where other services reach artifacts. Empty: a Unix socket in the data folder, which no other user of the "
        "machine can reach. `host:port` is for services on several machines and needs `server.service_key`.",
        least=1,
    )
    store: str = setting(
        "local", "Where content is stored: in a folder, or in MinIO or another S3 store.", choices=("local", "minio")
    )
    local_folder: str = setting("", "With `local`: the folder. Empty: `blobs` in the data folder.", anchored=in_folder)
    s3_endpoint: str = setting("", "With `minio`: the server, as `host:port` without a scheme.")
    s3_bucket: str = setting("", "With `minio`: the bucket. It is created if it is missing and the key is allowed to.")
    s3_access_key: str = setting("", "With `minio`: the name of the key.")
    s3_secret_key: Secret = setting(Secret(""), "With `minio`: the secret of the key. Best given in the environment.")
    s3_region: str = setting("us-east-1", "With `minio`: the region of the bucket.")
    s3_secure: bool = setting(True, "With `minio`: whether to use TLS.")
    upload_limit: Duration = setting(
        Duration(12 * 3600.0), "How long the upload of one stream of files may take.", least=1
    )
    upload_files: int = setting(
        100_000,
        "How many files one stream may hold, at about 2 KB of memory each.",
        least=1,
        most=100_000,
    )
    garbage_interval: Duration = setting(
        Duration(3600.0), "How often the service looks for content that nothing refers to.", least=1
    )
    orphan_interval: Duration = setting(
        Duration(6 * 3600.0), "How often the service searches the store for objects that were never committed.", least=1
    )
    garbage_grace: Duration = setting(
        Duration(24 * 3600.0),
        "How long content that nothing refers to is kept. Must be longer than `upload_limit`.",
        least=2,
    )

    def mistakes(self) -> list[str]:
        """The combinations of settings that can't work, a line for each."""
        mistakes = self._store_mistakes()
        if self.garbage_grace <= self.upload_limit:
            mistakes.append(
                f"artifacts.garbage_grace = {self.garbage_grace:g}s: must be longer than artifacts.upload_limit, "
                f"which is {self.upload_limit:g}s, so that nothing is removed under an upload"
            )
        return mistakes

    def _store_mistakes(self) -> list[str]:
        if self.store == "local":
            given = [key for key in _S3_PLACE if getattr(self, key)]
            return [
                f"{self._said(key)}: is given, but artifacts.store is 'local'; set that to 'minio', or leave this empty"
                for key in given
            ]
        mistakes = [
            f"artifacts.{key} = '': artifacts.store is 'minio', which needs {what}"
            for key, what in _S3_REQUIRED.items()
            if not getattr(self, key)
        ]
        if self.s3_endpoint and not _ENDPOINT.match(self.s3_endpoint):
            mistakes.append(
                f"artifacts.s3_endpoint = {self.s3_endpoint!r}: must be `host:port`, such as 'minio.example:9000', "
                "without scheme or path; artifacts.s3_secure says whether to use TLS"
            )
        if self.s3_bucket and not _BUCKET.match(self.s3_bucket):
            mistakes.append(
                f"artifacts.s3_bucket = {self.s3_bucket!r}: must be 3 to 63 of a-z, 0-9 and '-', beginning and "
                "ending with a letter or digit"
            )
        if self.local_folder:
            mistakes.append(
                f"{self._said('local_folder')}: is given, but artifacts.store is 'minio'; leave this empty, or set "
                "that to 'local'"
            )
        return mistakes

    def _said(self, key: str) -> str:
        return f"artifacts.{key} = {getattr(self, key)!r}"
