"""Where a server listens: no stranger can reach it, unless it has a key for services."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import ConfigurationInvalid, load
from modelry_server.targets import build, mistakes
from tests.parts.certificates import Authority

NO_CLIENTS = {"mtls-listen": "", "client-ca-file": ""}
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
def test_a05_a_server_that_strangers_could_reach_does_not_start(tmp_path: Path, listen: str) -> None:
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


def test_o06_plain_text_between_machines_needs_a_word_that_something_else_encrypts() -> None:
    flags = {"server.internal-listen": "0.0.0.0:1", "server.service-key": "k" * 32}
    flags |= {"tracking.internal-address": "tracking.example.org:5201"}
    said = {"server.encrypted-in-front": "true"}

    told = [*mistakes("access", load(Config, environment={}, flags=flags))]

    assert [line.partition(":")[0] for line in (each.replace("0.0.0.0:1", "") for each in told)] == [
        "server.internal_listen = ''",
        "tracking.internal_address = 'tracking.example.org",
    ]
    assert all("server.encrypted_in_front = true" in line for line in told)
    assert [*mistakes("access", load(Config, environment={}, flags=flags | said))] == []


def test_plain_text_between_services_of_one_machine_needs_no_word() -> None:
    flags = {"server.internal-listen": "127.0.0.1:1", "server.service-key": "k" * 32}

    assert [*mistakes("access", load(Config, environment={}, flags=flags))] == []


@pytest.mark.parametrize(
    ("authentication", "encrypted", "said"),
    [
        ("none", False, ["no authentication is configured", "connections would not be encrypted"]),
        ("none", True, ["no authentication is configured"]),
        ("required", False, ["connections would not be encrypted"]),
        ("required", True, []),
    ],
)
def test_a05_other_machines_reach_a_server_with_authentication_and_tls_only(
    tmp_path: Path, authentication: str, encrypted: bool, said: list[str]
) -> None:
    flags = {"server.listen": "0.0.0.0:1", "server.authentication": authentication}
    pair = Authority(tmp_path).issue("server")
    ways: list[dict[str, str]] = [{}]
    if encrypted:
        files = {"server.tls-certificate-file": str(pair.certificate), "server.tls-key-file": str(pair.key)}
        ways = [{"server.encrypted-in-front": "true"}, files]

    for way in ways:
        told = [*mistakes("all", load(Config, environment={}, flags=flags | way))]

        assert len(told) == len(said)
        assert all(words in line for words, line in zip(said, told, strict=True))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and its key, some that are not right, and the file of the authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    for name in ("server", "other"):
        authority.issue(name)
    shutil.copy(folder / "server.key", folder / "open.key")
    (folder / "open.key").chmod(0o604)
    (folder / "empty.pem").touch()
    secret = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    locked = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"swordfish"),
    )
    (folder / "locked.key").touch(0o600)
    (folder / "locked.key").write_bytes(locked)
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"tls-key-file": "", **NO_CLIENTS},
            "server.tls_certificate_file = '{}/server.pem': needs server.tls_key",
        ),
        (
            {"tls-certificate-file": "", **NO_CLIENTS},
            "server.tls_key_file = '{}/server.key': needs server.tls",
        ),
        ({"tls-certificate-file": "gone.pem"}, "server.tls_certificate_file = '{}/gone.pem': can't be read: No such"),
        ({"tls-certificate-file": "empty.pem"}, "server.tls_certificate_file = '{}/empty.pem': must have one certif"),
        ({"tls-key-file": "gone.key"}, "server.tls_key_file = '{}/gone.key': can't be read: No such file"),
        ({"tls-key-file": "server.pem"}, "server.tls_key_file = '{}/server.pem': must be the private key of the"),
        ({"tls-key-file": "other.key"}, "server.tls_key_file = '{}/other.key': is not the key of the first"),
        ({"tls-key-file": "locked.key"}, "server.tls_key_file = '{}/locked.key': must be a key without a password"),
        ({"tls-key-file": "open.key"}, "server.tls_key_file = '{}/open.key': other users of the machine can read or"),
        ({"client-ca-file": ""}, "server.mtls_listen = '127.0.0.1:2': needs server.client_ca_file, too"),
        ({"client-ca-file": "empty.pem"}, "server.client_ca_file = '{}/empty.pem': must have one certificate"),
        ({"mtls-listen": ""}, "server.client_ca_file = '{}/ca.pem': is for server.mtls_listen, which is empty"),
        ({"mtls-listen": "unix:/tmp/s"}, "server.mtls_listen = 'unix:/tmp/s': must be a port"),
        ({"mtls-listen": "0.0.0.0:2"}, "server.mtls_listen = '0.0.0.0:2': other machines could reach it, and no auth"),
        ({"ca-file": "gone.pem"}, "server.ca_file = '{}/gone.pem': can't be read: No such file"),
        ({"ca-file": "server.key"}, "server.ca_file = '{}/server.key': must have one certificate or more, as PEM"),
        ({"encrypted-in-front": "true"}, "server.encrypted_in_front = True: with server.tls_certificate_file the"),
        ({"metrics-port": "2"}, "server.metrics_port = 2: the server itself listens there (server.mtls_listen = "),
        ({}, None),
    ],
)
def test_a_mistake_about_certificates_is_told_at_the_start(
    certificates: Path, changes: dict[str, str], said: str | None
) -> None:
    flags = {"tls-certificate-file": "server.pem", "tls-key-file": "server.key", "client-ca-file": "ca.pem"}
    flags |= {"ca-file": "ca.pem", "mtls-listen": "127.0.0.1:2", "listen": "127.0.0.1:1"} | changes
    files = {key: str(certificates / value) for key, value in flags.items() if value and key.endswith("-file")}
    given = {f"server.{key}": value for key, value in (flags | files).items()}

    told = [*mistakes("all", load(Config, environment={}, flags=given))]

    assert len(told) == (said is not None)
    assert said is None or told[0].startswith(said.format(certificates))
    assert "swordfish" not in str(told)


def test_files_in_the_configuration_file_are_meant_from_its_folder(certificates: Path) -> None:
    file = certificates / "modelry.toml"
    file.write_text('[server]\ntls_certificate_file = "server.pem"\ntls_key_file = "server.key"\n')

    config = load(Config, file=file, environment={}, flags={})

    assert [*mistakes("all", config)] == []
    assert config.server.tls_key_file == str(certificates / "server.key")


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
