"""The OIDC issuers that are trusted, from a TOML file: `[[issuer]]`, and `[[issuer.rule]]` for workloads."""

import difflib
import ipaddress
import re
import ssl
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from modelry_server.kernel.config import ConfigurationInvalid, duration

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""All that can be allowed. Each has a public key that verifies and a private one that signs."""

KINDS = ("user", "service_account")

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_CLAIM = re.compile(r"\{([^{}]+)\}")
_LONGEST_S = 365 * 86_400
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a claim must be: `value`, or if `is_prefix` a text that begins with it. Of a list one element is enough."""

    claim: str
    value: str | int
    is_prefix: bool = False

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims of a token meet it."""
        found = claim(claims, self.claim)
        return any(self._fits(each) for each in (found if isinstance(found, list) else [found]))

    @property
    def is_pin(self) -> bool:
        """Whether it allows one subject, or one id that the issuer never gives to another."""
        return not self.is_prefix and (self.claim == "sub" or self.claim.endswith("_id"))

    def _fits(self, found: object) -> bool:
        if self.is_prefix:
            return isinstance(found, str) and found.startswith(str(self.value))
        return type(found) is type(self.value) and found == self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """Which workloads become which principal. `name` and `subject` are templates, such as `ci-{repository_id}`."""

    conditions: tuple[Condition, ...]
    name: str
    subject: str
    kind: str

    def matches(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims of a token meet all conditions."""
        return all(each.holds(claims) for each in self.conditions)


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer, its tokens that are accepted, and what their claims mean. Times are seconds."""

    name: str
    url: str
    audiences: tuple[str, ...]
    jwks_url: str = ""
    ca_file: str = ""
    token_file: str = ""
    algorithms: tuple[str, ...] = ALGORITHMS
    client_id: str = ""
    name_claim: str = "preferred_username"
    display_name_claim: str = "name"
    email_claim: str = "email"
    groups_claim: str = "groups"
    group_prefix: str = ""
    kind: str = "user"
    longest_lifetime: int = 86_400
    keys_kept: int = 86_400
    create_principals: bool = True
    required_claims: tuple[Condition, ...] = ()
    rules: tuple[Rule, ...] = ()

    def token(self) -> str:
        """What its keys are asked for with: the content of `token_file`, which may be renewed. Raises OSError."""
        return Path(self.token_file).read_text(encoding="ascii").strip() if self.token_file else ""

    def tls(self) -> ssl.SSLContext:
        """What its certificate is checked with: `ca_file`, or what the system trusts. Raises OSError."""
        return ssl.create_default_context(cafile=self.ca_file or None)


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim with this name, or within claims that are objects, as `kubernetes.io/namespace`. None if missing."""
    if name in claims:
        return claims[name]
    outer, _, inner = name.partition("/")
    found = claims.get(outer)
    return claim(found, inner) if inner and isinstance(found, dict) else None


def filled(template: str, claims: Mapping[str, Any]) -> str | None:
    """A template with the claims in place of their names. None if a claim is missing, or no text and no number."""
    values = {name: claim(claims, name) for name in _CLAIM.findall(template)}
    if any(not isinstance(value, str | int) or isinstance(value, bool) or value == "" for value in values.values()):
        return None
    return _CLAIM.sub(lambda match: str(values[match[1]]), template)


def may_fetch(url: str) -> bool:
    """Whether keys may be read from an URL: over TLS, or from this machine."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = (
        not (parts.username or parts.password or parts.fragment)
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )
    return is_whole and is_plain and (parts.scheme == "https" or (parts.scheme == "http" and is_local(parts.hostname)))


def is_local(host: str | None) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def load_issuers(path: Path) -> Sequence[Issuer]:
    """The issuers of a file. A relative `ca_file` is meant from its folder.

    Raises ConfigurationInvalid with every mistake.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigurationInvalid([f"{path}: can't be read as TOML: {problem}"]) from problem
    mistakes = [
        f"{path}: {key}: there is no such key; all settings belong in [[issuer]]" for key in content if key != "issuer"
    ]
    tables = content.get("issuer")
    if not isinstance(tables, list) or not tables:
        raise ConfigurationInvalid([*mistakes, f"{path}: needs one [[issuer]] or more"])
    issuers = [_issuer(_Table(f"{path}: issuer {n}", table, mistakes), path) for n, table in enumerate(tables, 1)]
    mistakes += [f"{path}: {line}" for line in _conflicts(issuers)]
    if mistakes:
        raise ConfigurationInvalid(mistakes)
    return issuers


class _Table:
    """A table of the file, read key by key. What is wrong becomes a line of `mistakes`, and the default is used."""

    def __init__(self, place: str, content: object, mistakes: list[str]) -> None:
        self._rest: dict[str, Any] = dict(content) if isinstance(content, dict) else {}
        self._place, self._mistakes = place, mistakes
        self._known: list[str] = []
        if isinstance(content, dict) and isinstance(content.get("name"), str):
            self._place = f"{place} ({content['name']!r})"

    def text(self, key: str, default: str = "", *, needed: bool = False) -> str:
        """A text, empty only if it isn't needed."""

        def read(value: object) -> str:
            if not isinstance(value, str) or (needed and not value):
                raise ValueError("must be a text in quotes" + (", and not empty" if needed else ""))
            return value

        return self._read(key, default, read, needed=needed)

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of some texts."""

        def read(value: object) -> str:
            if value not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return str(value)

        return self._read(key, default, read)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""

        def read(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value

        return self._read(key, default, read)

    def texts(self, key: str, default: tuple[str, ...] = (), choices: Collection[str] = ()) -> tuple[str, ...]:
        """One text or more; needed if there is no default."""

        def read(value: object) -> tuple[str, ...]:
            if not isinstance(value, list) or not value or not all(each and isinstance(each, str) for each in value):
                raise ValueError("must be a list of one text or more, none of them empty")
            if choices and (odd := [each for each in value if each not in choices]):
                raise ValueError(f"{odd[0]!r} is not one of {', '.join(choices)}")
            return tuple(value)

        return self._read(key, default, read, needed=not default)

    def seconds(self, key: str, default: int) -> int:
        """A duration, of whole seconds."""

        def read(value: object) -> int:
            if not 1 <= (found := duration(value)) <= _LONGEST_S:
                raise ValueError("must be from 1s to 365d")
            return int(found)

        return self._read(key, default, read)

    def address(self, key: str, *, needed: bool = False) -> str:
        """An URL that keys may be read from, empty only if it isn't needed."""
        found = self.text(key, needed=needed)
        if found and not may_fetch(found):
            # It is not shown: it may hold a password.
            self.wrong(key, "must begin with https://, or with http:// on this machine, and hold no password")
        return found

    def template(self, key: str, default: str = "") -> str:
        """A text with names of claims in braces."""
        found = self.text(key, default, needed=not default)
        if "{" in (left := _CLAIM.sub("", found)) or "}" in left:
            self.wrong(key, f"{found!r} has braces that are not around the name of a claim, such as {{sub}}")
        return found

    def conditions(self, key: str) -> tuple[Condition, ...]:
        """A table of claim = value."""

        def read(value: object) -> tuple[Condition, ...]:
            if not isinstance(value, dict) or not all(isinstance(each, str | int) for each in value.values()):
                raise ValueError("must be a table of claim = value, with a text, a number or true or false for each")
            return tuple(_condition(name, each) for name, each in value.items())

        return self._read(key, (), read)

    def tables(self, key: str) -> list["_Table"]:
        """The tables of `[[issuer.<key>]]`."""

        def read(value: object) -> list[_Table]:
            if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
                raise ValueError(f"must be tables, each under [[issuer.{key}]]")
            return [_Table(f"{self._place}: {key} {n}", each, self._mistakes) for n, each in enumerate(value, 1)]

        return self._read(key, [], read)

    def wrong(self, key: str, why: str) -> None:
        """Notes a mistake."""
        self._mistakes.append(f"{self._place}: {key}: {why}")

    def end(self) -> None:
        """Notes what nobody has read."""
        for key in self._rest:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(self._known)}"
            self.wrong(key, f"there is no such key; {hint}")

    def _read(self, key: str, default: _Value, read: Callable[[object], _Value], *, needed: bool = False) -> _Value:
        self._known.append(key)
        if key not in self._rest:
            if needed:
                self.wrong(key, "is missing")
            return default
        try:
            return read(self._rest.pop(key))
        except ValueError as problem:
            self.wrong(key, str(problem))
            return default


def _issuer(table: _Table, path: Path) -> Issuer:
    name = table.text("name", needed=True)
    if name and not _NAME.match(name):
        table.wrong("name", f"{name!r} must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    ca_file, token_file = table.text("ca_file"), table.text("token_file")
    issuer = Issuer(
        name=name,
        url=table.address("url", needed=True),
        audiences=table.texts("audiences"),
        jwks_url=table.address("jwks_url"),
        ca_file=str(path.absolute().parent / Path(ca_file).expanduser()) if ca_file else "",
        token_file=str(path.absolute().parent / Path(token_file).expanduser()) if token_file else "",
        algorithms=table.texts("algorithms", ALGORITHMS, ALGORITHMS),
        client_id=table.text("client_id"),
        name_claim=table.text("name_claim", "preferred_username"),
        display_name_claim=table.text("display_name_claim", "name"),
        email_claim=table.text("email_claim", "email"),
        rules=(rules := tuple(_rule(each) for each in table.tables("rule"))),
        # Groups are of people. A workload has them only where that is said.
        groups_claim=table.text("groups_claim", "" if rules else "groups"),
        group_prefix=table.text("group_prefix"),
        kind=table.choice("kind", "user", KINDS),
        longest_lifetime=table.seconds("longest_lifetime", 86_400),
        keys_kept=table.seconds("keys_kept", 86_400),
        create_principals=table.flag("create_principals", True),
        required_claims=table.conditions("required_claims"),
    )
    try:
        issuer.tls()
    except OSError as problem:  # an SSLError is one
        table.wrong("ca_file", f"{issuer.ca_file}: can't be read as certificates in PEM form: {problem}")
    try:
        issuer.token()
    except (OSError, UnicodeDecodeError) as problem:
        table.wrong("token_file", f"{issuer.token_file}: can't be read: {problem}")
    table.end()
    return issuer


def _rule(table: _Table) -> Rule:
    rule = Rule(
        conditions=table.conditions("claims"),
        name=table.template("name"),
        subject=table.template("subject", "{sub}"),
        kind=table.choice("kind", "service_account", KINDS),
    )
    if not any(each.is_pin for each in rule.conditions):
        table.wrong(
            "claims",
            "must have the whole `sub`, or the whole value of a claim that ends with `_id`: a name that is given up "
            "can be taken by somebody else, an id can't",
        )
    table.end()
    return rule


def _condition(name: str, value: str | int) -> Condition:
    if not isinstance(value, str):
        return Condition(name, value)
    text, is_prefix = value.removesuffix("*"), value.endswith("*")
    if not text:
        raise ValueError(f"{name} = {value!r} allows anything; say what it must be")
    if "*" in text:
        raise ValueError(f"{name} = {value!r} can have one * only, as its end")
    if name == "sub" and is_prefix and text[-1] not in ":/":
        raise ValueError(f"sub = {value!r}: a * stands after ':' or '/', or else 'team*' allows 'team-of-others' too")
    return Condition(name, text, is_prefix)


def _conflicts(issuers: Sequence[Issuer]) -> list[str]:
    """What issuers must not have in common: each would speak for the people of the other."""
    lines = []
    for n, one in enumerate(issuers):
        for other in issuers[:n]:
            both = f"issuers {other.name!r} and {one.name!r}"
            lines += [
                f"{both} have the same {key}" for key in ("name", "url") if getattr(one, key) == getattr(other, key)
            ]
            prefixes = sorted((one.group_prefix, other.group_prefix))
            if one.groups_claim and other.groups_claim and prefixes[1].startswith(prefixes[0]):
                lines.append(
                    f"{both} could name the groups of each other; give each a `group_prefix` that does not begin with "
                    'that of the other, or `groups_claim = ""` to the one whose groups do not count'
                )
    return lines
