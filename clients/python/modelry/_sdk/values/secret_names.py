"""Which names say that their value is a secret: `password`, `HF_TOKEN`, `myApiKey`, `client-secret`, `PGPASSWORD`."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The words of a name in any style; numbers are left out."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "pwd")
_WHOLE = ("secret", "apikey", "accesskey", "secretkey", "privatekey", "accountkey", "authkey", "masterkey", "passkey")
_KEYS = _set(
    "api access secret private signing encryption account shared master auth subscription license service admin ssh"
    " application openai anthropic wandb comet neptune azure aws google cohere mistral groq together replicate pinecone"
    " langsmith functions"
)
_TOKENS = _set("auth access api refresh bearer session bot hf github gitlab wandb private secret security personal")
_OF_TEXTS = _set(
    "pad eos bos unk mask sep cls special additional image images video audio vision start end stop next last first"
    " prev previous per loss think prompt tool new added begin im fim prefix suffix word sub text input output current"
    " speech time num max min each target source class dist distill distillation latent query patch newline eot eod"
)
"""`pad_token`, `next_token`, `loss_per_token`: tokens of a text, not of an account."""
_PASSES = _set(
    "db pg sql mysql postgres user admin root ssh smtp mail email ftp redis http https proxy registry login mongo"
    " ldap vault sudo app service my"
)
_PATS = _set("github gitlab gh azure ado devops databricks snowflake access user my docker")
_REMARKS = _set("value prod production dev test staging live old new base64 base b plain raw default")
"""Words at the end of a name that leave its meaning: `password_old`, `SECRET_KEY_BASE`."""
_IN_QUERIES = _set("key sig signature auth sas pass pat")
_OPTIONS = _set("pass pat auth")
_WHOLE_OPTIONS = _set("key tokens")
"""`--key x`, `--tokens x y`; `--keys` are mostly those of a table."""
_LOOSE = ("authorization", "cookie", "jwt", "credential", "dsn", "connectionstring")


class Kind(IntEnum):
    """How surely a name says that its value is a secret."""

    NONE = 0
    MAYBE = 1
    """`token` alone: the word has other meanings in machine learning."""
    SECRET = 2
    PASSWORD = 3


@lru_cache(maxsize=1024)
def kind(name: str, *, is_option: bool = False, is_in_query: bool = False) -> Kind:
    """What the name says of its value, by its last word and those before; numbers and remarks at the end are skipped.

    Options of commands (`--pat`) and parameters of URLs (`?sig=`) have names that elsewhere say nothing.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    while len(words) > 1 and words[-1] in _REMARKS:
        words.pop()
    if not words:
        return Kind.NONE
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    last = last if last.endswith("ss") else last.removesuffix("s")
    if last.endswith(_PASSWORDS) or (last in ("word", "phrase") and before == "pass"):
        return Kind.PASSWORD
    found = _kind(last, before, name, is_many=words[-1] == "tokens")
    if is_in_query and (found or last in _IN_QUERIES):
        return Kind.SECRET
    is_alone = is_option and len(words) == 1
    return Kind.MAYBE if not found and is_alone and (last in _OPTIONS or words[-1] in _WHOLE_OPTIONS) else found


def takes_many(name: str) -> bool:
    """Whether an option takes several secrets by its name, such as `--api_keys` or `--tokens`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or not words[-1].endswith("s") or words[-1].endswith("ss"):
        return False
    return kind(name, is_option=True) >= Kind.SECRET or words == ["tokens"]


def _kind(last: str, before: str, name: str, *, is_many: bool) -> Kind:
    if last.endswith(_WHOLE) or (last == "key" and before in _KEYS):
        return Kind.SECRET
    if last == "token" and before in _TOKENS:
        return Kind.SECRET
    if last.endswith("token"):
        return Kind.NONE if is_many or before in _OF_TEXTS or last.removesuffix("token") in _OF_TEXTS else Kind.MAYBE
    if last.endswith("pass") and (before if last == "pass" else last.removesuffix("pass")) in _PASSES:
        return Kind.SECRET
    if last == "pat" and (before in _PATS or name.isupper()):
        return Kind.MAYBE
    return Kind.MAYBE if last.endswith(_LOOSE) or (before, last) == ("connection", "string") else Kind.NONE
