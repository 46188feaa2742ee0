"""Secrets in a text of TOML are masked by the names that TOML gives them, and the rest stays letter by letter."""

from __future__ import annotations

import tomllib

import pytest

from modelry._sdk.requiring import toml

S = "sEcr3tq7Rt5Yp0Lm2"
"""A value that must not be stored."""

SECRETS = [
    *(f'env-vars = {{ HF_TOKEN = "{S}" }}', f'env = {{ API_TOKEN = "{S}", X = "1" }}', f'env = ["DB_PASSWORD={S}"]'),
    *(f'token = """\n{S}\n"""', f"token = '''{S}'''", f'auth = {{ user = "u", password = "{S}" }}'),
    *(f'db.password = "{S}"', f'"my token" = "{S}"', f'secret-key = "{S}"', f'private_key = "{S}"'),
    *(f'dsn = "postgresql://u:{S}@h/db"', f"publish-token = '{S}'", f'passphrase = "{S}"', f'api_keys = ["a", "{S}"]'),
    *(f'password = [["{S}"]]', f'a = [[{{ token = "{S}" }}]]', f'"pass\\u0077ord" = "{S}"', f'auth = "{S}"'),
    *(f'[a.secrets]\nmine = "{S}"', f'[[a]]\nb = 1\n[[a.c]]\npasswd = "{S}"', f'a."b.token" = "{S}"'),
    *(f'token = "{S}"\ncopy = "x {S} y"\n# {S}', f'cmd = "login --token {S}"', f'a = "\\"token\\": \\"{S}\\""'),
    *(f'url = "https://u:{S}@h/simple"', f'url = "https://h/simple?token={S}"', f'# token = "{S}"', f'a = "hf_{S}{S}"'),
    *(f'url = "https://dl.cloudsmith.io/{S}/a/b/python/simple/"', f'[a.dependencies]\npassword = "{S}"'),
    *(f'token = "{S}\\n"', f'a = "DB_PASSWO\\u0052D={S}"', f'a = {{ b = """x\npassword={S}\n""" }}'),
    f'[a.scripts.x]\npassword = "{S}"',
]
KEPT = [
    *('[project]\nname = "tokenizers"\nversion = "1.0"', '[tool.poetry.dependencies]\nsecrets = "^1.2.3rc1"'),
    *('[package.dependencies]\npassword = "*"', '[project.optional-dependencies]\ntoken = ["a>=1.2"]'),
    *('[package.extras]\nauth-token = ["x (>=1.2.3)"]', '[dependency-groups]\nsecret = ["a>=1"]'),
    *('[tool.uv.sources]\nsecrets = { path = "../secrets" }', '[project.scripts]\ntoken = "a.cli:main"'),
    *('password = "${DB_PASSWORD}"', 'url = "https://${USER}:${TOKEN}@h/simple"', "max_tokens = 512", "token = true"),
    *(f'content-hash = "{"0123456789abcdef" * 4}"', f'hash = "sha256:{"0123456789abcdef" * 4}"', 'pad_token = "<pad>"'),
    *('a = { url = "git+ssh://git@host/org/a" }', "a = 1979-05-27T07:32:00Z", "\r\n[a]\r\nb = 'C:\\x'\r\n", ""),
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked_at_every_depth_and_in_every_form(text: str) -> None:
    shown = toml.masked(f'first = "kept"\n{text}\n[last]\nname = "kept"\n')

    assert S not in shown
    assert S not in str(tomllib.loads(shown))
    assert "***" in shown
    assert shown.startswith('first = "kept"\n')
    assert shown.endswith('[last]\nname = "kept"\n')


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays_letter_by_letter(text: str) -> None:
    assert toml.masked(text) == text
    assert toml.masked(f'{text}\n[z]\npassword = "{S}"\n') == f'{text}\n[z]\npassword = "***"\n'


def test_numbers_and_short_words_are_masked_where_they_are_the_whole_value() -> None:
    text = 'password = 12345678\nport = 12345678\nb.password = "abc"\nc = "abc"\nname = "abcdef"'

    assert toml.masked(text) == 'password = "***"\nport = "***"\nb.password = "***"\nc = "***"\nname = "abcdef"'


@pytest.mark.parametrize("text", ["a = ", f"password = {S}", "a = [" * 5_000, f'token = "{S}"\ntoken = "{S}"'])
def test_what_is_no_toml_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(ValueError, match="masked") as refused:
        toml.masked(text)

    assert S not in str(refused.value)
