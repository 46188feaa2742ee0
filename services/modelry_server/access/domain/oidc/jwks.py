"""The public keys of an issuer: read from its JWKS endpoint, and kept."""

import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from modelry_server.access.domain.oidc.fetching import LIMIT_S, Unfetched, fetch
from modelry_server.access.domain.oidc.issuers import Issuer, may_fetch
from modelry_server.access.errors import IssuerUnavailable
from modelry_server.kernel.telemetry import Log

REFETCH_S = 30
"""Between two reads for keys that are not known, whatever their number."""
RETRY_S = 3
"""The same while there are no keys at all."""
REFRESH_S = 300
"""After which keys are read again while they are used, so that one that the issuer takes back is not trusted."""

Key = RSAKey | ECKey | OKPKey

_KINDS: Mapping[object, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_BITS = range(2048, 8193)
_WAITING = 4
_PATIENCE_S = 2 * LIMIT_S + 1  # discovery and keys

_log = Log("access.jwks")


class PublishedKeys:
    """The keys of one issuer. The last ones that were read are used while it is down, for `keys_kept` at most.

    `age` gives seconds that never go back.
    """

    def __init__(self, issuer: Issuer, age: Callable[[], float]) -> None:
        self._issuer, self._age = issuer, age
        self._lock = threading.Lock()
        # Who waits holds a worker of the server; tokens with made-up keys must not hold them all.
        self._seats = threading.BoundedSemaphore(_WAITING)
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._tried_at = -math.inf
        self._has_failed = False
        self._reading: threading.Event | None = None

    def find(self, key_id: str) -> Key | None:
        """The key with this id; None if the issuer does not publish it.

        A key that is known is given at once. Another one waits for a read, if one is due. Raises IssuerUnavailable.
        """
        with self._lock:
            key = self._usable().get(key_id)
            if self._reading is None and self._is_due(is_known=key is not None):
                self._begin()
            reading = self._reading
        if key is not None:
            return key
        if reading is not None:
            self._wait(reading)
        with self._lock:
            keys = self._usable()
            if key_id not in keys and (self._has_failed or not keys):
                raise IssuerUnavailable(self._issuer.name)
            return keys.get(key_id)

    def _usable(self) -> Mapping[str, Key]:
        return self._keys if self._age() - self._read_at < self._issuer.keys_kept else {}

    def _is_due(self, *, is_known: bool) -> bool:
        now = self._age()
        pause = REFETCH_S if self._usable() else RETRY_S
        return now - self._tried_at >= pause and (not is_known or now - self._read_at >= REFRESH_S)

    def _begin(self) -> None:
        self._tried_at = self._age()
        self._reading = threading.Event()
        threading.Thread(target=self._read, args=(self._reading,), name="jwks", daemon=True).start()

    def _wait(self, reading: threading.Event) -> None:
        if not self._seats.acquire(blocking=False):
            raise IssuerUnavailable(self._issuer.name)
        try:
            if not reading.wait(_PATIENCE_S):
                raise IssuerUnavailable(self._issuer.name)
        finally:
            self._seats.release()

    def _read(self, reading: threading.Event) -> None:
        keys: Mapping[str, Key] = {}
        began = self._age()
        try:
            keys = published(self._issuer)
        except (Unfetched, OSError) as problem:  # OSError: the file of its certificates
            _log.warning("issuer.keys_unread", issuer=self._issuer.name, why=str(problem))
        finally:
            with self._lock:
                self._has_failed, self._reading = not keys, None
                if keys:
                    self._keys, self._read_at = keys, began
            reading.set()


def published(issuer: Issuer) -> Mapping[str, Key]:
    """The keys that an issuer publishes now, one or more. Raises Unfetched, OSError."""
    tls, token = issuer.tls(), issuer.token()
    url = issuer.jwks_url
    if not url:
        place = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        found = _object(place, fetch(place, tls, token=token))
        if found.get("issuer") != issuer.url:
            raise Unfetched(f"{place} is of another issuer; the `url` in the issuers file must be exactly its `issuer`")
        url = str(found.get("jwks_uri", ""))
        if not may_fetch(url) or (issuer.url.startswith("https:") and not url.startswith("https:")):
            raise Unfetched(f"{place} has a jwks_uri that does not begin with https://")
    # The token is for the issuer. A cluster may name its keys by an address of the API server, which has another name.
    is_there = urlsplit(url).netloc == urlsplit(issuer.jwks_url or issuer.url).netloc
    entries = _object(url, fetch(url, tls, token=token if is_there else "")).get("keys")
    if not isinstance(entries, list):
        raise Unfetched(f"{url} has no list of keys")
    keys: dict[str, Key] = {}
    for entry in entries:
        key = _key(entry)
        if key is not None:
            keys.setdefault(str(key.kid), key)
    if not keys:
        raise Unfetched(f"{url} has no public key for signatures with an id, of RSA, EC or OKP")
    return keys


def _object(url: str, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise Unfetched(f"{url} has no JSON") from problem
    if not isinstance(found, dict):
        raise Unfetched(f"{url} has no JSON object")
    return found


def _key(entry: object) -> Key | None:
    """A key that may verify signatures. None for symmetric and private ones, those for encryption, and weak ones."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or not entry["kid"]:
        return None
    kind = _KINDS.get(entry.get("kty")) if isinstance(entry.get("kty"), str) else None
    if kind is None or entry.get("use", "sig") != "sig":
        return None
    try:
        key: Key = kind.import_key(entry)
        key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, AttributeError, UnsupportedAlgorithm):
        return None
    if key.is_private:  # what everybody can read signs nothing
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size not in _BITS:
        return None
    return None if isinstance(key, OKPKey) and entry.get("crv") not in ("Ed25519", "Ed448") else key
