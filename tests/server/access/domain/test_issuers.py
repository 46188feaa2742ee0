"""What the file of the issuers may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry_server.access.domain.oidc.issuers import ALGORITHMS, Condition, Issuer, Rule, load_issuers
from modelry_server.kernel.config import ConfigurationInvalid
from tests.parts import hostile_issuer

LEAST = """
[[issuer]]
name = "company"
url = "https://login.example.com/"
audiences = ["modelry"]
"""
RULE = """
[[issuer.rule]]
name = "trainer"
claims = { sub = "x" }
"""


def loaded(folder: Path, text: str) -> list[Issuer]:
    file = folder / "issuers.toml"
    file.write_text(text)
    return list(load_issuers(file))


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationInvalid) as refusal:
        loaded(folder, text)
    return [line.removeprefix(f"{folder / 'issuers.toml'}: ") for line in refusal.value.mistakes]


def test_name_url_and_audience_are_enough(tmp_path: Path) -> None:
    (issuer,) = loaded(tmp_path, LEAST)

    assert issuer == Issuer("company", "https://login.example.com/", ("modelry",))
    assert issuer.algorithms == ALGORITHMS
    assert (issuer.longest_lifetime, issuer.keys_kept, issuer.groups_claim) == (86_400, 86_400, "groups")


def test_everything_can_be_set(tmp_path: Path) -> None:
    with hostile_issuer.running(tls_folder=tmp_path) as running:
        text = f"""
        [[issuer]]
        name = "cluster"
        url = "{running.url}"
        audiences = ["modelry", "other"]
        jwks_url = "http://[::1]:8000/keys"
        ca_file = "ca.pem"
        algorithms = ["ES256"]
        client_id = "cli"
        name_claim = "upn"
        display_name_claim = "n"
        email_claim = "mail"
        groups_claim = "roles"
        group_prefix = "c:"
        kind = "service_account"
        longest_lifetime = "2h"
        keys_kept = "30m"
        required_claims = {{ org = "risk-*", mfa = true }}

        [[issuer.rule]]
        claims = {{ repository_id = "42", ref = "refs/heads/*" }}
        name = "ci-{{repository_id}}"
        subject = "{{repository_id}}"
        kind = "user"
        """

        assert loaded(tmp_path, text) == [
            Issuer(
                name="cluster",
                url=running.url,
                audiences=("modelry", "other"),
                jwks_url="http://[::1]:8000/keys",
                ca_file=str(tmp_path / "ca.pem"),
                algorithms=("ES256",),
                client_id="cli",
                name_claim="upn",
                display_name_claim="n",
                email_claim="mail",
                groups_claim="roles",
                group_prefix="c:",
                kind="service_account",
                longest_lifetime=7200,
                keys_kept=1800,
                required_claims=(Condition("org", "risk-", is_prefix=True), Condition("mfa", True)),
                rules=(
                    Rule(
                        (Condition("repository_id", "42"), Condition("ref", "refs/heads/", is_prefix=True)),
                        "ci-{repository_id}",
                        "{repository_id}",
                        "user",
                    ),
                ),
            )
        ]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
    [[issuer]]
    name = "Company"
    url = "http://login.example.com"
    audience = ["modelry"]
    algorithms = ["RS256", "HS256"]
    kind = "robot"
    longest_lifetime = 5

    [other]
    """

    assert mistakes(tmp_path, text) == [
        "other: there is no such key; all settings belong in [[issuer]]",
        "issuer 1 ('Company'): name: 'Company' must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
        "issuer 1 ('Company'): url: must begin with https://, or with http:// on this machine, and hold no password",
        "issuer 1 ('Company'): audiences: is missing",
        "issuer 1 ('Company'): algorithms: 'HS256' is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, "
        "ES384, EdDSA",
        "issuer 1 ('Company'): kind: must be one of user, service_account",
        "issuer 1 ('Company'): longest_lifetime: must be a duration such as '5ms', '2s' or '24h'",
        "issuer 1 ('Company'): audience: there is no such key; did you mean audiences?",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example.com",
        "http://10.0.0.1",
        "https://",
        "https://a b",
        "https://u:canary@x",
        "file:///x",
        "https://x:0",
    ],
)
def test_an_url_that_keys_can_not_be_read_from_is_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, LEAST.replace("https://login.example.com/", url))

    assert "): url: must be" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("audiences = []", "must be a list of one text or more"),
        ('audiences = "modelry"', "must be a list of one text or more"),
        ('audiences = ["modelry", ""]', "must be a list of one text or more"),
        ("audiences = []\nclient_id = 5", "client_id: must be a text in quotes"),
        ('audiences = ["m"]\nca_file = "missing.pem"', "ca_file: "),
        ('audiences = ["m"]\nlongest_lifetime = "0s"', "must be from 1s to 365d"),
        ('audiences = ["m"]\nrequired_claims = { org = "*" }', "allows anything"),
        ('audiences = ["m"]\nrequired_claims = { org = "a*b" }', "one * only, as its end"),
        ('audiences = ["m"]\nrequired_claims = { sub = "team*" }', "'team*' allows 'team-of-others' too"),
        ('audiences = ["m"]\nrequired_claims = { org = [1] }', "must be a table of claim = value"),
        ('audiences = ["m"]\nrule = 5', "must be tables, each under [[issuer.rule]]"),
    ],
)
def test_a_value_that_can_not_be_used_is_told(line: str, told: str, tmp_path: Path) -> None:
    assert told in " | ".join(mistakes(tmp_path, LEAST.replace('audiences = ["modelry"]', line)))


@pytest.mark.parametrize(
    "text", ["", "issuer = []", "issuer = 5", "[issuer]\nname = 'x'", "issuer = [1]", "[[", "\xff"]
)
def test_a_file_without_issuers_is_refused(text: str, tmp_path: Path) -> None:
    assert mistakes(tmp_path, text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"nowhere\.toml: can't be read"):
        load_issuers(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "claims",
    [
        '{ ref = "refs/heads/main" }',
        '{ sub = "repo:risk/*" }',
        '{ repository_id = "4*" }',
        "{}",
        '{ repository = "a/b" }',
    ],
)
def test_a_rule_that_pins_no_subject_and_no_id_is_refused(claims: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, LEAST + RULE.replace('{ sub = "x" }', claims))

    assert "rule 1 ('trainer'): claims: must have the whole `sub`" in line


@pytest.mark.parametrize("name", ["{", "a}", "{}", "{{sub}}"])
def test_a_template_has_names_of_claims_in_its_braces(name: str, tmp_path: Path) -> None:
    assert "braces" in mistakes(tmp_path, LEAST + RULE.replace("trainer", name))[0]


def test_groups_of_workloads_count_only_where_that_is_said(tmp_path: Path) -> None:
    assert loaded(tmp_path, LEAST + RULE)[0].groups_claim == ""


def test_two_issuers_share_no_name_and_no_url_and_can_not_name_the_groups_of_each_other(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, LEAST + LEAST)) == 3
    other = LEAST.replace("company", "partner").replace("login.", "partner.")
    assert "could name the groups of each other" in mistakes(tmp_path, LEAST + other)[0]
    assert mistakes(tmp_path, LEAST + other + 'group_prefix = "partner:"\n')

    apart = LEAST + 'group_prefix = "company:"\n' + other + 'group_prefix = "partner:"\n'

    assert [each.group_prefix for each in loaded(tmp_path, apart)] == ["company:", "partner:"]
    assert len(loaded(tmp_path, LEAST + other + 'groups_claim = ""\n')) == 2
