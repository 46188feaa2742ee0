"""Where a server listens: no stranger can reach it, unless it has a key for services."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import ConfigurationInvalid, load
from modelry_server.targets import build, mistakes

KEY = "the-key-of-the-services-of-a-test"


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:0",
        "[::]:0",
        "192.168.0.1:0",
        "example.org:0",
        "localhost.example.org:0",
        "127.0.0.1.example.org:0",
    ],
)
def test_a_server_that_strangers_could_reach_does_not_start(tmp_path: Path, listen: str) -> None:
    config = load(Config, environment={}, flags={"server.listen": listen, "server.data-folder": str(tmp_path)})

    with pytest.raises(ConfigurationInvalid, match="no authentication is configured"):
        build("access", config)


def test_where_a_service_alone_listens_is_refused_under_the_key_that_says_it(tmp_path: Path) -> None:
    config = load(Config, environment={}, flags={"access.address": "0.0.0.0:1", "server.data-folder": str(tmp_path)})

    with pytest.raises(ConfigurationInvalid, match=r"access\.address = '0\.0\.0\.0:1'"):
        build("access", config)


@pytest.mark.parametrize(
    ("target", "key", "value", "said"),
    [
        ("access", "server.internal-listen", "0.0.0.0:1", "server.internal_listen = '0.0.0.0:1': a port needs"),
        ("access", "server.internal-listen", "127.0.0.1:1", "server.internal_listen = '127.0.0.1:1': a port needs"),
        ("access", "access.internal-address", "[::]:1", "access.internal_address = '[::]:1': a port needs"),
        ("tracking", "access.internal-address", "localhost:1", "access.internal_address = 'localhost:1': a port needs"),
        ("access", "server.service-key", "swordfish", "server.service_key = (secret): must have at least 32"),
        ("access", "server.service-key", "swordfish " * 9, "server.service_key = (secret): must have at least 32"),
        ("all", "server.internal-listen", "127.0.0.1:1", "server.internal_listen = '127.0.0.1:1': all services in one"),
    ],
)
def test_what_would_open_the_internal_listener_to_strangers_is_refused(
    target: str, key: str, value: str, said: str
) -> None:
    config = load(Config, environment={}, flags={key: value})

    [told] = mistakes(target, config)

    assert told.startswith(said)
    assert "swordfish" not in told


def test_with_a_key_of_its_own_a_service_may_listen_where_other_machines_reach_it() -> None:
    flags = {"server.internal-listen": "0.0.0.0:1", "server.service-key": "k" * 32}

    assert [*mistakes("access", load(Config, environment={}, flags=flags))] == []


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:0", "localhost:0", "[::1]:0"])
def test_a_server_on_this_machine_starts(tmp_path: Path, listen: str) -> None:
    flags = {"server.listen": listen, "server.internal-listen": listen, "server.data-folder": str(tmp_path)}
    flags |= {"server.service-key": KEY}
    config = load(Config, environment={}, flags=flags)
    db = database(config, "access")
    db.upgrade()
    db.close()

    server = build("access", config)

    server.start()
    server.stop()
