"""The issuers on the page about signing in do to tokens what the page says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelry_server.access.domain.oidc.issuers import load_issuers
from modelry_server.access.domain.oidc.verifying import Oidc
from modelry_server.access.errors import TokenRefused
from modelry_server.kernel.clock import Clock
from tests.docs.pages import blocks
from tests.parts import hostile_issuer
from tests.parts.hostile_issuer import HostileIssuer

COMPANY, CLUSTER, ACTIONS = (block.text for block in blocks("docs/sign-in.md") if block.noun == "issuers")
TRAINER = {"sub": "system:serviceaccount:risk:trainer", "aud": ["modelry"]}
DEPLOYER = {
    "sub": "system:serviceaccount:risk:deployer",
    "aud": ["modelry"],
    "kubernetes.io": {"namespace": "risk", "serviceaccount": {"uid": "1b7b3f4e-0c55-4a52-9d24-7a2c3d1f0a11"}},
}
JOB = {
    "sub": "repo:risk/models:ref:refs/heads/topic",
    "aud": "https://modelry.example.com",
    "repository_id": "456789",
    "repository_owner_id": "123456",
    "ref": "refs/heads/topic",
}
RELEASE = {**JOB, "ref": "refs/heads/main", "environment": "production"}
PERSON = {"sub": "00u1", "aud": "modelry", "org_id": "4711", "preferred_username": "ada", "groups": ["risk"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[HostileIssuer]:
    with hostile_issuer.running() as running:
        yield running


def verified(example: str, claims: dict[str, Any], issuer: HostileIssuer, folder: Path) -> tuple[str, str, str]:
    """Kind, subject and name by an example, whose issuer has moved to one that answers."""
    url = next(line for line in example.splitlines() if line.startswith("url = ")).split('"')[1]
    lines = [line for line in example.splitlines() if not line.startswith("ca_file")]
    (folder / "issuers.toml").write_text("\n".join(lines).replace(json.dumps(url), json.dumps(issuer.url)))
    now = int(time.time())
    token = issuer.token({"iss": issuer.url, "iat": now, "exp": now + 600, **claims})
    found = Oidc(load_issuers(folder / "issuers.toml"), Clock()).verify(token)
    return found.kind, found.subject, found.name


@pytest.mark.parametrize(
    ("example", "claims", "principal"),
    [
        (COMPANY, PERSON, ("user", "00u1", "ada")),
        (CLUSTER, TRAINER, ("service_account", TRAINER["sub"], "risk-trainer")),
        (CLUSTER, DEPLOYER, ("service_account", DEPLOYER["sub"], "risk-deployer")),
        (ACTIONS, RELEASE, ("service_account", "release:456789", "risk-release")),
        (ACTIONS, JOB, ("service_account", "ci:456789", "risk-ci")),
    ],
    ids=["person", "trainer", "deployer", "release", "job"],
)
def test_a_token_becomes_the_principal_of_the_example(
    example: str, claims: dict[str, Any], principal: tuple[str, str, str], issuer: HostileIssuer, tmp_path: Path
) -> None:
    assert verified(example, claims, issuer, tmp_path) == principal


@pytest.mark.parametrize(
    ("example", "claims"),
    [
        (COMPANY, {**PERSON, "org_id": "4712"}),
        (COMPANY, {**PERSON, "aud": "modelry-cli"}),
        (CLUSTER, {**TRAINER, "sub": "system:serviceaccount:other:trainer"}),
        (CLUSTER, {**DEPLOYER, "kubernetes.io": {"namespace": "risk", "serviceaccount": {"uid": "another"}}}),
        (ACTIONS, {**RELEASE, "repository_id": "1"}),
        (ACTIONS, {**JOB, "repository_owner_id": "1"}),
    ],
    ids=["organisation", "ID token", "namespace", "made again", "repository", "owner"],
)
def test_a_token_of_somebody_else_is_refused(
    example: str, claims: dict[str, Any], issuer: HostileIssuer, tmp_path: Path
) -> None:
    with pytest.raises(TokenRefused):
        verified(example, claims, issuer, tmp_path)
