"""Masks what must not be recorded: tokens, keys and passwords in texts, arguments and URLs.

It errs towards masking, and it can't know every secret: a password without a name that says so looks like any word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

MASK = "***"

_RISKY_FILES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd"),
    *(".git-credentials", ".dockercfg", ".dockerconfigjson", "kubeconfig", "*.kubeconfig", "*.ovpn"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore", "*.kdbx", "*.asc", "*.gpg"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.tfvars", "*.tfstate", "*.tfstate.*"),
    *("service-account*.json", "service_account*.json", "client_secret*.json"),
)
_RISKY_STEMS = ("credential", "credentials", "secret", "secrets", "password", "passwords", "token", "tokens")
_CODE = {".py", ".pyi", ".ipynb", ".md", ".rst", ".go", ".rs", ".c", ".cpp", ".h", ".java", ".js", ".ts", ".sql"}
_RISKY_FOLDERS = {".aws", ".ssh", ".gnupg", ".kube", ".docker", "secrets"}

_NAME = (
    r"(?:pass(?:word|wd|phrase|code)s?|pwd|secrets?|(?:api|access|private|signing|encryption|account|shared|master)"
    r"[_-]?keys?|credentials?|(?:auth|bearer|access|refresh|api|secret|session|bot|hf|github|gitlab|wandb)[_-]?tokens?"
    r"|token|authorization|connection[_-]?string|dsn|cookie)"
)
_NAMED = rf"(?<![a-z])(?:[\w.-]*[_.-])?{_NAME}(?:[_-][a-z0-9]+)?"
_QUOTED = re.compile(
    rf"(?P<name>(?i:{_NAMED})\\?[\"']?\]?\s*(?::\s*[\w.\[\]| ]+?)?\s*(?:=>|[:=,])\s*[a-zA-Z]{{0,2}}\\?)"
    r"(?P<quote>[\"'])(?![<\[{])(?P<value>[^\"'\\\n]{4,})"
)
_BARE = re.compile(
    rf"(?P<name>(?i:{_NAMED})[\"']?\s*[:=]\s*)(?P<value>[^\s\"'(){{}}\[\],;<$]{{6,}})(?=\s*(?:$|[,;#&]))", re.M
)
_TOKENS = re.compile(
    r"(?:"
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"  # Amazon
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bhf_[A-Za-z0-9]{20,}|\bsk-[\w-]{20,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdop_v1_[0-9a-f]{40,}"
    r"|\b[rs]k_(?:live|test)_\w{16,}|\bAGE-SECRET-KEY-1\w{20,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r")"
)
_BEARER = re.compile(r"(?P<kind>\b(?i:bearer|basic)\s+)(?P<value>[\w.+/=~-]{12,})")
_HINTS = (
    *(
        "pass",
        "pwd",
        "secret",
        "key",
        "cred",
        "token",
        "authorization",
        "connection",
        "dsn",
        "cookie",
        "bearer",
        "basic",
    ),
    *("://", "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
    *("hf_", "sk-", "aiza", "ya29.", "npm_", "pypi-", "sg.", "dop_v1_", "k_live_", "k_test_", "eyj"),
)
"""A line that `masked` changes has one of these, in small letters, or is of a private key."""
_USER_OF_URL = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)[^\s/@\"'<>]+@")
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"^(?P<sign>[ +-]?)[A-Za-z0-9+/]{60,}={0,2}\s*$")
_ENDS_A_BLOCK = ("diff --git ", "@@ ")
_OPTION = re.compile(rf"^-{{1,2}}(?i:(?:[\w.-]*[_.-])?{_NAME})$")


def is_risky_file(path: str) -> bool:
    """Whether a file is one that holds secrets as a rule, by its name or folder: its content is not recorded."""
    file = PurePosixPath(path.lower())
    if any(folder in _RISKY_FOLDERS for folder in file.parts[:-1]):
        return True
    if file.name.partition(".")[0] in _RISKY_STEMS and file.suffix not in _CODE:
        return True
    return any(fnmatchcase(file.name, pattern) for pattern in _RISKY_FILES)


def masked(text: str) -> str:
    """The text with `***` in the place of what looks like a secret. Its lines stay the same number."""
    text = "\n".join(_without_keys(text.split("\n")))
    text = _USER_OF_URL.sub(rf"\g<scheme>{MASK}@", text)
    text = _TOKENS.sub(MASK, text)
    text = _BEARER.sub(rf"\g<kind>{MASK}", text)
    text = _QUOTED.sub(rf"\g<name>\g<quote>{MASK}", text)
    return _BARE.sub(rf"\g<name>{MASK}", text)


def masked_lines(lines: Iterable[str]) -> list[str]:
    """The lines as `masked` gives them, each for itself but for private keys. Quicker where few have a secret."""
    return [_masked_line(line) for line in _without_keys(lines)]


def _masked_line(line: str) -> str:
    small = line.lower()
    return masked(line) if any(hint in small for hint in _HINTS) else line


def masked_arguments(arguments: Iterable[str]) -> list[str]:
    """The arguments of a command with `***` in the place of what looks like a secret, also after such an option."""
    shown: list[str] = []
    for argument in arguments:
        is_value = bool(shown) and _OPTION.match(shown[-1]) is not None and not argument.startswith("--")
        shown.append(MASK if is_value else _masked_argument(argument))
    return shown


def _masked_argument(argument: str) -> str:
    name, equals, _ = argument.partition("=")
    if equals and (_OPTION.match(name) or re.fullmatch(f"(?i:{_NAMED})", name)):
        return f"{name}={MASK}"
    return masked(argument)


def without_user(url: str) -> str:
    """A URL without user, password and query. The user `git` of SSH is no secret and stays."""
    plain = url.split("?")[0].split("#")[0]
    return re.sub(r"(?<=://)(?!git@)[^/]*@", "", plain)


def _without_keys(lines: Iterable[str]) -> Iterator[str]:
    """The lines, masked from the beginning of a private key to its end, also in a diff, which may show a part of it."""
    is_inside = False
    for line in lines:
        if line.startswith(_ENDS_A_BLOCK):
            is_inside = False
        begins, ends = _KEY_BEGINS.search(line), _KEY_ENDS.search(line)
        if begins and ends:
            yield line[: begins.start()] + MASK + line[ends.end() :]
        elif begins:
            is_inside = True
            yield line[: begins.start()] + MASK
        elif ends:
            is_inside = False
            yield line[:1].strip("-") + MASK + line[ends.end() :]
        elif is_inside:
            yield (line[0] if line[:1] in ("+", "-", " ") else "") + MASK
        else:
            yield _KEY_LINE.sub(rf"\g<sign>{MASK}", line)
