"""What looks like a secret is masked, and what does not stays as it is."""

from __future__ import annotations

import pytest

from modelry._sdk.values import secrets

MADE_UP = "q7Rt5Yp0Lm2Kx9Vw3Zb8Nc4D"


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{MADE_UP}"',
        f"+DB_PASSWORD={MADE_UP}",
        f"-  api_key: {MADE_UP}",
        f'+    "secret": "{MADE_UP}",',
        f'"\\"access_token\\": \\"{MADE_UP}\\""',
        f'os.environ["HF_TOKEN"] = "{MADE_UP}"',
        f'config["secret_key"]="{MADE_UP}"',
        f'def connect(password: str = "{MADE_UP}") -> None:',
        f'login(token="{MADE_UP}")',
        f"AWS_SECRET_ACCESS_KEY={MADE_UP}",
        f"postgres://ada:{MADE_UP}@db.example.com/x",
        f"Authorization: Bearer {MADE_UP}",
        f"key AKIA{'ABCD2345' * 2} of a user",
        f"ghp_{MADE_UP}{MADE_UP}",
        f"hf_{MADE_UP}",
        f"sk-{MADE_UP}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{MADE_UP}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{MADE_UP}\n-----END RSA PRIVATE KEY-----",
        f"+-----BEGIN PRIVATE KEY-----\n+{MADE_UP}\n+more",
        f" {MADE_UP * 3}",
    ],
)
def test_what_looks_like_a_secret_is_masked_in_its_line(line: str) -> None:
    shown = secrets.masked(line)

    assert secrets.masked_lines(line.split("\n")) == shown.split("\n")
    assert secrets.MASK in shown
    assert MADE_UP not in shown
    assert "ABCD2345ABCD2345" not in shown
    assert shown.count("\n") == line.count("\n")


@pytest.mark.parametrize(
    "line",
    [
        "max_tokens = 512",
        'tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")',
        'pad_token = "<pad>"',
        "token: str",
        "password = getpass.getpass()",
        "monkey = 'chimpanzee'",
        "https://example.com/a@b",
        "+    return self.keys[index]",
        "index 2166bbb..45022da 100644",
        "commit 44c9ca961932a3ba87beb592958b63d1e7c4cbac",
        "lr = 0.1  # keep",
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_is(line: str) -> None:
    assert secrets.masked(line) == line


def test_what_follows_a_private_key_in_a_diff_is_shown_again() -> None:
    text = "+-----BEGIN PRIVATE KEY-----\n+abc\n@@ -1 +1 @@\n+shown"

    assert secrets.masked(text) == "+***\n+***\n@@ -1 +1 @@\n+shown"


def test_a_private_key_is_masked_to_its_end_over_several_parts() -> None:
    block = secrets.KeyBlock()
    begun = ["a", "-----BEGIN PRIVATE KEY-----", MADE_UP * 3]

    assert secrets.masked_lines(begun, block) == ["a", "***", "***"]
    assert secrets.masked_lines([], block) == []
    assert secrets.masked_lines([MADE_UP], block) == ["***"]
    assert secrets.masked_lines(["kA==", "-----END PRIVATE KEY-----", "done"], block) == ["***", "***", "done"]
    assert secrets.masked_lines(["done"], block) == ["done"]


def test_a_private_key_without_an_end_does_not_hide_what_is_printed_later() -> None:
    block = secrets.KeyBlock()
    secrets.masked_lines(["-----BEGIN PRIVATE KEY-----", MADE_UP], block)

    assert secrets.masked_lines(["Proc-Type: 4,ENCRYPTED", "", MADE_UP], block) == ["***"] * 3
    assert secrets.masked_lines(["epoch 1: loss 0.3", "done"], block) == ["epoch 1: loss 0.3", "done"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["train.py", "--password", MADE_UP, "--lr", "0.1"], ["train.py", "--password", "***", "--lr", "0.1"]),
        (["--api-key=" + MADE_UP], ["--api-key=***"]),
        (["DB_PASSWORD=x"], ["DB_PASSWORD=***"]),
        (["--hf-token", MADE_UP, "data"], ["--hf-token", "***", "data"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["--url", f"https://u:{MADE_UP}@host/x"], ["--url", "https://***@host/x"]),
        (["--max-tokens", "512", "--key-width=8"], ["--max-tokens", "512", "--key-width=8"]),
    ],
)
def test_arguments_are_masked_by_the_names_of_their_options(given: list[str], shown: list[str]) -> None:
    assert secrets.masked_arguments(given) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://ada:{MADE_UP}@example.com/a/b.git", "https://example.com/a/b.git"),
        (f"https://{MADE_UP}@example.com/a/b.git", "https://example.com/a/b.git"),
        (f"https://example.com/a.git?private_token={MADE_UP}", "https://example.com/a.git"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_the_url_of_a_remote_loses_its_credentials(url: str, shown: str) -> None:
    assert secrets.without_user(url) == shown


@pytest.mark.parametrize(
    "path",
    [
        *(".env", "app/.env.local", "deploy/prod.env", "key.pem", "certs/server.key", "id_rsa", "a/id_ed25519.pub"),
        *("credentials.json", "config/secrets.yaml", ".aws/config", ".netrc", "infra/prod.tfvars", "Secrets.TOML"),
        *(
            "kaggle.json",
            ".databrickscfg",
            ".boto",
            ".s3cfg",
            ".vault_pass",
            "pgpass.conf",
            "api_key.txt",
            "app-secrets.yml",
        ),
        *("application_default_credentials.json", "conf/HF_TOKEN.txt", "db-password.yaml", ".azure/accessTokens.json"),
        *("service-account-prod.json", ".git-credentials", ".docker/config.json", "token", "tokens.txt"),
    ],
)
def test_files_that_hold_secrets_are_known_by_name(path: str) -> None:
    assert secrets.is_risky_file(path)


@pytest.mark.parametrize(
    "path",
    [
        *("train.py", "secrets.py", "environment.yml", "keys.md", "tokenizer.json", "a/b.env.py", "api_key.py"),
        *(
            "added_tokens.json",
            "special_tokens_map.json",
            "token_counts.json",
            "pad_token.json",
            "password_strength.json",
        ),
        *("primary_key.txt", "forward_pass.txt", "keymap.json", "reset_password.html"),
    ],
)
def test_other_files_are_not(path: str) -> None:
    assert not secrets.is_risky_file(path)
