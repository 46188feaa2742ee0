"""Masks what must not be recorded: tokens, keys and passwords in texts, arguments and URLs.

It errs towards masking, and it can't know every secret: a password without a name that says so looks like any word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from modelry._sdk.values import logins, urls
from modelry._sdk.values.named_secrets import MASK, STEMS, is_harmless, mask_many, mask_values, opens_many
from modelry._sdk.values.secret_names import Kind, kind, takes_many

__all__ = [
    "MASK",
    "KeyBlock",
    "is_risky_file",
    "masked",
    "masked_arguments",
    "masked_lines",
    "masked_text",
    "without_user",
]

_RISKY_FILES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd"),
    *(".git-credentials", ".dockercfg", ".dockerconfigjson", "kubeconfig", "*.kubeconfig", "*.ovpn"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore", "*.kdbx", "*.asc", "*.gpg"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.tfvars", "*.tfstate", "*.tfstate.*"),
    *("service-account*.json", "service_account*.json", "client_secret*.json", "kaggle.json", "rclone.conf"),
    *(
        ".databrickscfg",
        ".boto",
        ".s3cfg",
        ".passwd-s3fs",
        ".vault_pass*",
        "vault_pass*",
        "pgpass.conf",
        ".mylogin.cnf",
    ),
    *(".terraformrc", ".modal.toml", ".comet.config", ".cdsapirc", ".ecmwfapirc"),
)
_RISKY_STEMS = ("credential", "credentials", "secret", "secrets", "password", "passwords", "token", "tokens")
_CODE = {".py", ".pyi", ".ipynb", ".md", ".rst", ".go", ".rs", ".c", ".cpp", ".h", ".java", ".js", ".ts", ".sql"}
_OF_SETTINGS = {"", ".txt", ".json", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".xml", ".b64"}
_RISKY_FOLDERS = {".aws", ".azure", ".oci", ".ssh", ".gnupg", ".kube", ".docker", "secrets"}

_TOKENS = re.compile(
    r"(?:"
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"  # Amazon
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bhf_[A-Za-z0-9]{20,}|\bsk-[\w-]{20,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdop_v1_[0-9a-f]{40,}"
    r"|\b[rs]k_(?:live|test)_\w{16,}|\bAGE-SECRET-KEY-1\w{20,}"
    r"|\bdapi[0-9a-f]{32}|\bnvapi-[\w-]{20,}|\bgsk_[A-Za-z0-9]{20,}|\br8_[A-Za-z0-9]{20,}"
    r"|(?<=hooks\.slack\.com/services/)[\w/]{16,}"
    r"|(?:(?<![\w-])|(?<=^-))eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r")"
)
_BEARER = re.compile(r"\b(?P<kind>(?i:bearer|basic)\s{1,8})(?P<value>[\w.+/=~-]{6,})", re.A)
_USER = re.compile(
    r"(?P<option>(?<!\S)(?:-u|--user|--proxy-user)[ =]['\"]?)(?!\d+:\d+\b)[^\s:'\"/]{1,64}:[^\s'\"/]+", re.A
)
_IDENTIFIED = re.compile(
    r"(?P<before>\bidentified(?: with [\w\"'`]{1,64})?\s{1,8}(?:by|as)\s{1,8}(?P<quote>\\{0,3}[\"']))"
    r"(?!%s|\{|\?|:)(?:(?!(?P=quote)).)+",
    re.IGNORECASE,
)
"""The password of a user, in SQL."""
_OF_TOKENS = (
    *("akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
    *("hf_", "sk-", "aiza", "ya29.", "npm_", "pypi-", "sg.", "dop_v1_", "k_live_", "k_test_", "eyj", "age-secret"),
    *("dapi", "nvapi-", "gsk_", "r8_", "hooks.slack.com"),
)
"""A line with a token of a known form has one of these, in small letters."""
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"^(?P<sign>[ +-]?)[A-Za-z0-9+/]{60,}={0,2}\s*$")
_OF_A_KEY = re.compile(r"\s*(?:[A-Za-z0-9+/]+={0,3}\s*|(?:Proc-Type|DEK-Info|Version|Comment|Hash):.*)?")
_MOST_LINES = 200
"""The longest dictionary or list of secrets that is masked."""
_ENDS_A_BLOCK = ("diff --git ", "@@ ")


def is_risky_file(path: str) -> bool:
    """Whether a file is one that holds secrets as a rule, by its name or folder: its content is not recorded."""
    file = PurePosixPath(path.lower())
    if any(folder in _RISKY_FOLDERS for folder in file.parts[:-1]):
        return True
    stem = file.name.lstrip(".").partition(".")[0]
    if stem in _RISKY_STEMS and file.suffix not in _CODE:
        return True
    if file.suffix in _OF_SETTINGS and (kind(stem) >= Kind.SECRET or stem.endswith(("credential", "credentials"))):
        return True
    return any(fnmatchcase(file.name, pattern) for pattern in _RISKY_FILES)


def masked(text: str) -> str:
    """The text with `***` in the place of what looks like a secret. Its lines stay the same number."""
    return "\n".join(masked_lines(text.split("\n")))


@dataclass(slots=True)
class KeyBlock:
    """Whether the lines so far end inside of a private key, for a text whose lines are masked part by part."""

    is_open: bool = False


def masked_lines(lines: Iterable[str], block: KeyBlock | None = None) -> list[str]:
    """The lines as `masked` gives them; `block` leads from part to part, for private keys.

    Each line is masked for itself but for private keys, and dictionaries and lists of secrets over several lines.
    """
    return list(_masked_each(_without_keys(lines, block or KeyBlock())))


def masked_text(text: str) -> str:
    """As `masked`, for what is no diff: lines of letters and digits stay, which are digests and paths there."""
    return masked(text) if _KEY_BEGINS.search(text) else "\n".join(_masked_each(text.split("\n")))


def _masked_each(lines: Iterable[str]) -> Iterator[str]:
    """The lines, masked each for itself but for those of a dictionary or a list of secrets, as programs write them."""
    left = 0
    for line in lines:
        many = mask_many(line) if left else None
        left = left - 1 if many is not None else 0
        yield _masked_line(line if many is None else many)
        if opens_many(line):
            left = _MOST_LINES


def _masked_line(line: str) -> str:
    small = line.lower()  # what a pattern can't do without is looked for first, which takes less time
    if ":/" in small or ":\\" in small:
        line = urls.users_masked(line)
    if any(hint in small for hint in _OF_TOKENS):
        line = _TOKENS.sub(MASK, line)
    if "bearer" in small or "basic" in small:
        line = _BEARER.sub(_without_bearer, line)
    if "@" in small or "{" in small:
        line = logins.masked(line)
    if "identified" in small:
        line = _IDENTIFIED.sub(rf"\g<before>{MASK}", line)
    if "-u" in small:
        line = _USER.sub(rf"\g<option>{MASK}", line)
    return mask_values(line) if any(stem in small for stem in STEMS) else line


def _without_bearer(found: re.Match[str]) -> str:
    """Masks what has a number or capitals inside: `Bearer eb3c…`, but not `basic classification`."""
    is_random = re.search(r"[0-9=]|[a-z][A-Z]|[A-Z]{3}", found["value"]) is not None
    return found["kind"] + MASK if is_random else found[0]


def masked_arguments(arguments: Iterable[str]) -> list[str]:
    """The arguments of a command with `***` in the place of what looks like a secret, also after such an option."""
    shown: list[str] = []
    before = many = ""
    for argument in arguments:
        is_user = before in ("-u", "--user", "--proxy-user") and re.fullmatch(r"(?!\d+:\d+$)[^:/]+:.+", argument)
        is_value = before.startswith("-") and "=" not in before and argument[:2] != "--" and _hides(before, argument)
        is_value |= bool(many) and argument[:1] != "-" and _hides(many, argument)
        shown.append(MASK if is_user or is_value else _masked_argument(argument))
        before = argument
        if argument[:1] == "-":
            many = argument if "=" not in argument and takes_many(argument) else ""
    return shown


def _masked_argument(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if equals and re.fullmatch(r"[-+~]{0,2}[\w./-]+", name) and _hides(name, value):
        return f"{name}={MASK}"
    return masked(argument)


def _hides(name: str, value: str) -> bool:
    """Whether a command must not show what it was given under a name."""
    sure = kind(name, is_option=name.startswith("-"))
    return sure is not Kind.NONE and not is_harmless(value, name, sure)


def without_user(url: str) -> str:
    """A URL without user, password and query. The user `git` of SSH is no secret and stays."""
    return urls.without_user(url).split("?")[0].split("#")[0]


def _without_keys(lines: Iterable[str], block: KeyBlock) -> Iterator[str]:
    """The lines, masked from the beginning of a private key to its end, also in a diff, which may show a part of it.

    A key that an earlier part has begun ends at the latest before a line that can't be one of a key.
    """
    is_inside = is_carried = block.is_open
    for line in lines:
        if is_carried and not _OF_A_KEY.fullmatch(line) and not _KEY_ENDS.search(line):
            is_inside = False
        is_carried = is_carried and is_inside
        if line.startswith(_ENDS_A_BLOCK):
            is_inside = False
        begins, ends = _KEY_BEGINS.search(line), _KEY_ENDS.search(line)
        if begins and ends:
            yield line[: begins.start()] + MASK + line[ends.end() :]
        elif begins:
            is_inside, is_carried = True, False
            yield line[: begins.start()] + MASK
        elif ends:
            is_inside = is_carried = False
            yield line[:1].strip("-") + MASK + line[ends.end() :]
        elif is_inside:
            yield (line[0] if line[:1] in ("+", "-", " ") else "") + MASK
        else:
            yield _KEY_LINE.sub(rf"\g<sign>{MASK}", line)
        block.is_open = is_inside
