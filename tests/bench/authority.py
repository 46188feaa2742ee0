"""Measures a check with a warm cache: who has a token, and whether it may do something at a place.

    python tests/bench/authority.py [principals] [bindings]

By default 10,000 principals with 100,000 bindings to experiments and models are known. Prints microseconds of processor
time for one check, the median and the 99th percentile of rounds of 1000 with tokens at random: what other programs take
of the machine is not counted.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from modelry_server.kernel.access import Place
from modelry_server.kernel.authority import Authority, Changed, Grants, Known
from modelry_server.kernel.caller import Caller, Credential, Identity
from modelry_server.kernel.errors import CredentialInvalid

ROUNDS, CHECKS = 200, 1000
WORKSPACES = 50
READ, WRITE = "runs.read", "runs.write"


class Bindings:
    """What access knows: principals, each with as many bindings."""

    def __init__(self, principals: int, bindings: int) -> None:
        self.known = {f"mdy_t_{number:036}": self._one(number, bindings // principals) for number in range(principals)}
        self.asked = 0

    def _one(self, number: int, bindings: int) -> Known:
        parts = {
            (f"w{each % WORKSPACES}", str(number * bindings + each)): frozenset({READ, WRITE})
            for each in range(bindings)
        }
        half = len(parts) // 2
        identity = Identity(f"{number:032x}", f"p{number}", Credential.API_TOKEN, f"t{number}")
        grants = Grants(experiments=dict([*parts.items()][:half]), models=dict([*parts.items()][half:]))
        return Known(identity, grants)

    def identity(self, bearer: str) -> Known:
        """Whose token it is."""
        self.asked += 1
        if bearer not in self.known:
            raise CredentialInvalid
        return self.known[bearer]

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Nobody asks: no call stays open here."""
        raise AssertionError(token_id)

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """There are no certificates here."""
        raise CredentialInvalid

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do."""
        self.asked += 1
        return next(known.grants for known in self.known.values() if known.identity.principal_id == principal_id)


def check(authority: Authority, bearer: str, place: Place) -> bool:
    """Who calls, and whether they may."""
    known = authority.identify(bearer)
    identity = known.identity
    return authority.may(Caller(identity.name, "0" * 32, identity=identity, grants=known.grants), WRITE, place)


def main(principals: int = 10_000, bindings: int = 100_000) -> None:
    """Measures, and prints what came out."""
    access = Bindings(principals, bindings)
    authority = Authority(access)
    authority.heard([Changed()])
    places = {
        bearer: Place(workspace, experiment_id)
        for bearer, known in access.known.items()
        for workspace, experiment_id in [*known.grants.experiments][:1]
    }
    for bearer, place in places.items():
        assert check(authority, bearer, place)
    asked, rng, bearers = access.asked, random.Random(7), [*places]
    rounds = []
    for _ in range(ROUNDS):
        authority.heard()
        chosen = rng.choices(bearers, k=CHECKS)
        began = time.thread_time()
        for bearer in chosen:
            check(authority, bearer, places[bearer])
        rounds.append((time.thread_time() - began) / CHECKS * 1e6)
    assert access.asked == asked, "access was asked"
    tail = statistics.quantiles(rounds, n=100)[98]
    print(
        f"{principals} principals, {bindings} bindings: {statistics.median(rounds):.1f} us a check, p99 {tail:.1f} us"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
