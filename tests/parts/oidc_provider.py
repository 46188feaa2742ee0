"""A real OpenID provider: the npm package `oidc-provider`, which `make oidc-provider` installs, on a port of loopback.

People log in by plain HTTP, as a browser would: pages, cookies, forms. Any password is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from joserfc import jwk, jwt

from tests.parts import PartMissing, free_port
from tests.parts.eventually import eventually

SCRIPT = Path(__file__).parent / "oidc" / "provider.mjs"
PACKAGES = Path(__file__).resolve().parents[2] / ".cache" / "oidc-provider" / "node_modules"

AUDIENCE = "modelry"
CLIENT = "modelry-cli"
"""A public client for people: code with PKCE to a loopback address with any port, device flow, refresh."""
MACHINE, MACHINE_SECRET = "machine", "secret-of-the-machine"
"""A client for programs: client credentials."""
CALLBACK = "http://127.0.0.1/callback"
SCOPE = "openid profile email groups offline_access api"


class Refused(Exception):
    """The provider answered with an error. `error` is its code, such as `invalid_grant`."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {answer}")
        self.status, self.error = status, str(answer.get("error", ""))


class OidcProvider:
    """A provider that runs until `stop`, and again after `start` on the same port.

    It forgets sessions and refresh tokens when it stops. Access tokens stay good as long as their key is published.
    """

    def __init__(self, folder: Path, *, users: Mapping[str, Mapping[str, object]], lifetime_s: int) -> None:
        self.issuer = f"http://127.0.0.1:{free_port()}"
        self.jwks_url = f"{self.issuer}/jwks"
        self._folder, self._users, self._lifetime_s = folder, dict(users), lifetime_s
        self._keys = [_new_key()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        node = shutil.which("node")
        if node is None or not (PACKAGES / "oidc-provider").exists():
            raise PartMissing("no OpenID provider: install Node.js 18 or newer and run `make oidc-provider`")
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "settings.json"
        settings.touch(0o600)
        settings.write_text(json.dumps(self._settings()))
        with (self._folder / "log").open("a") as log:
            self._process = process = subprocess.Popen(
                [node, str(SCRIPT), str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
            )
        eventually(lambda: process.poll() is not None or self._answers(), within_s=60)
        if process.poll() is not None:
            raise AssertionError(f"the provider did not start:\n{(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        """Stops it: nothing answers at its address."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def rotate_keys(self) -> str:
        """Signs with a new key from now on, and publishes the ones before behind it; gives the id of the new key."""
        self.stop()
        self._keys.insert(0, _new_key())
        self.start()
        return self.key_id

    def forget_old_keys(self) -> None:
        """Publishes the newest key only."""
        self.stop()
        del self._keys[1:]
        self.start()

    @property
    def key_id(self) -> str:
        """The id of the key that signs now."""
        return str(self._keys[0].kid)

    def sign(self, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
        """A token with any claims, signed by the key of the provider, which would never make it."""
        full = {"alg": "RS256", "typ": "at+jwt", "kid": self.key_id, **(header or {})}
        return jwt.encode(full, dict(claims), self._keys[0])

    def token(self, user: str, audience: str = AUDIENCE, lifetime_s: int | None = None) -> str:
        """An access token of a person, who logs in for it."""
        return str(self.tokens(user, audience, lifetime_s)["access_token"])

    def tokens(self, user: str, audience: str = AUDIENCE, lifetime_s: int | None = None) -> dict[str, Any]:
        """The whole answer of the token endpoint after a login: access_token, refresh_token, id_token, expires_in."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        url = f"{self.issuer}/auth?" + urllib.parse.urlencode(
            {
                "response_type": "code",
                "client_id": CLIENT,
                "redirect_uri": CALLBACK,
                "scope": SCOPE,
                "prompt": "consent",
                "resource": _resource(audience),
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        found = urllib.parse.parse_qs(urllib.parse.urlsplit(self.authorize(url, user)).query)
        assert (found["state"], found["iss"]) == ([state], [self.issuer])
        return self.ask(
            "/token",
            {
                "grant_type": "authorization_code",
                "client_id": CLIENT,
                "code": found["code"][0],
                "redirect_uri": CALLBACK,
                "code_verifier": verifier,
            },
            lifetime_s,
        )

    def machine_token(self, audience: str = AUDIENCE, lifetime_s: int | None = None) -> str:
        """An access token of the client `MACHINE`, which no person stands behind."""
        answer = self.ask(
            "/token",
            {
                "grant_type": "client_credentials",
                "client_id": MACHINE,
                "client_secret": MACHINE_SECRET,
                "resource": _resource(audience),
                "scope": "api",
            },
            lifetime_s,
        )
        return str(answer["access_token"])

    def authorize(self, url: str, user: str) -> str:
        """Does what a person does who opens `url` in a browser; gives the address that it is sent to at the end."""
        redirect, page = _Browser(self.issuer).go(url, user)
        assert redirect, f"the provider sent nobody back, it showed:\n{page}"
        return redirect

    def device_approve(self, user_code: str, user: str) -> None:
        """Does what a person does who types `user_code` into the page for devices, logs in and agrees."""
        _, page = _Browser(self.issuer).go(f"{self.issuer}/device", user, user_code)
        assert "Sign-in Success" in page, f"the code was not taken:\n{page}"

    def device_deny(self, user_code: str, user: str) -> None:
        """As `device_approve`, but the person does not recognise the device, and refuses."""
        _, page = _Browser(self.issuer).go(f"{self.issuer}/device", user, user_code, agrees=False)
        assert "request was interrupted" in page, f"the code was not refused:\n{page}"

    def ask(self, path: str, form: Mapping[str, str], lifetime_s: int | None = None) -> dict[str, Any]:
        """Posts a form to an endpoint, and gives the answer; raises `Refused`."""
        request = urllib.request.Request(self.issuer + path, urllib.parse.urlencode(form).encode())
        if lifetime_s is not None:
            request.add_header("x-lifetime", str(lifetime_s))
        try:
            with _opener().open(request, timeout=20) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from None

    def published_keys(self) -> jwk.KeySet:
        """The keys at `jwks_url`."""
        with _opener().open(self.jwks_url, timeout=20) as answer:
            return jwk.KeySet.import_key_set(json.load(answer))

    def _answers(self) -> bool:
        try:
            with _opener().open(f"{self.issuer}/.well-known/openid-configuration", timeout=5):
                return True
        except OSError:
            return False

    def _settings(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "packages": str(PACKAGES),
            "audience": AUDIENCE,
            "lifetime_s": self._lifetime_s,
            "users": self._users,
            "keys": [key.as_dict(private=True) for key in self._keys],
            "clients": [
                {
                    "client_id": CLIENT,
                    "application_type": "native",
                    "token_endpoint_auth_method": "none",
                    "grant_types": [
                        "authorization_code",
                        "refresh_token",
                        "urn:ietf:params:oauth:grant-type:device_code",
                    ],
                    "redirect_uris": [CALLBACK, "http://localhost/callback"],
                    "response_types": ["code"],
                },
                {
                    "client_id": MACHINE,
                    "client_secret": MACHINE_SECRET,
                    "token_endpoint_auth_method": "client_secret_post",
                    "grant_types": ["client_credentials"],
                    "redirect_uris": [],
                    "response_types": [],
                },
            ],
        }


@contextmanager
def running(
    folder: Path, *, users: Mapping[str, Mapping[str, object]] | None = None, lifetime_s: int = 3600
) -> Iterator[OidcProvider]:
    """A provider, stopped at the end. `users` maps a login name, which is the subject, to claims such as `groups`."""
    provider = OidcProvider(folder, users=users or {}, lifetime_s=lifetime_s)
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()


def _new_key() -> jwk.RSAKey:
    return jwk.RSAKey.generate_key(2048, {"kid": secrets.token_hex(8), "use": "sig", "alg": "RS256"}, private=True)


def _resource(audience: str) -> str:
    """The name of an audience as the provider wants it, which takes URIs only."""
    return audience if ":" in audience else f"urn:audience:{audience}"


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action, self.fields = "", dict[str, str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and not self.action:
            self.action = given.get("action") or ""
        elif tag == "input" and given.get("name"):
            self.fields[given["name"] or ""] = given.get("value") or ""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves it to the caller to follow."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Browser:
    """Follows redirects within the provider, keeps cookies, fills in and sends each form."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._opener = _opener(urllib.request.HTTPCookieProcessor(CookieJar()), _Stay())

    def go(self, url: str, user: str, user_code: str = "", *, agrees: bool = True) -> tuple[str, str]:
        """Goes on until it is sent away from the provider, or no page asks for more: gives that address, or the page.

        A page that asks the same again says that the answer was not taken, and is the last one.
        """
        form: dict[str, str] | None = None
        answered = set[frozenset[str]]()
        for _ in range(20):
            location, page = self._ask(url, form)
            if location:
                url, form = urllib.parse.urljoin(url, location), None
                if not url.startswith(f"{self._issuer}/"):
                    return url, ""
                continue
            asked = _Form(page)
            if not asked.action or frozenset(asked.fields) in answered:
                return "", page
            answered.add(frozenset(asked.fields))
            url = urllib.parse.urljoin(url, asked.action)
            form = {**asked.fields, **_filled(asked, user, user_code, agrees=agrees)}
        raise AssertionError(f"the provider asks again and again, last:\n{page}")

    def _ask(self, url: str, form: Mapping[str, str] | None) -> tuple[str, str]:
        content = None if form is None else urllib.parse.urlencode(form).encode()
        try:
            with self._opener.open(urllib.request.Request(url, content), timeout=20) as answer:
                return "", answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.headers.get("location", ""), error.read().decode()


def _filled(form: _Form, user: str, user_code: str, *, agrees: bool) -> dict[str, str]:
    """What a person writes into a form, or the button that it presses."""
    if "login" in form.fields:
        return {"login": user, "password": "any is right"}
    if "confirm" in form.fields:
        return {} if agrees else {"abort": "yes"}
    return {"user_code": user_code} if "user_code" in form.fields else {}


def _opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
