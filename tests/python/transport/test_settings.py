from __future__ import annotations

from pathlib import Path

import pytest

from modelry._sdk.transport import settings
from modelry.errors import InvalidArgument


@pytest.mark.parametrize(
    ("uri", "target", "loopback"),
    [
        ("grpc://127.0.0.1:5100", "127.0.0.1:5100", True),
        ("localhost:7", "localhost:7", True),
        ("[::1]:5100", "[::1]:5100", True),
        ("[0:0:0:0:0:0:0:1]", "[0:0:0:0:0:0:0:1]:5100", True),
        ("grpc://[::ffff:127.0.0.1]:7", "[::ffff:127.0.0.1]:7", True),
        ("grpc://[fe80::1%25eth0]:7", "[fe80::1%eth0]:7", False),
        ("[2001:db8::1]", "[2001:db8::1]:5100", False),
        ("LocalHost:7", "LocalHost:7", True),
        ("0.0.0.0:5100", "0.0.0.0:5100", True),
        ("grpc://tracking.example.org", "tracking.example.org:5100", False),
        ("10.0.0.1:443", "10.0.0.1:443", False),
        ("unix:///run/modelry.sock", "unix:/run/modelry.sock", True),
        ("dns:///modelry:5100", "dns:///modelry:5100", False),
        ("127.0.0.1.example.org:1", "127.0.0.1.example.org:1", False),
    ],
)
def test_a_tracking_uri_is_read(uri: str, target: str, loopback: bool) -> None:
    address = settings.parse_address(uri)

    assert (address.target, address.loopback) == (target, loopback)


@pytest.mark.parametrize("uri", ["", "a b", "host:0", "host:65536", "host:port", "grpc://", "grpc://u@h:1", "h:1/path"])
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument, match=r"grpc://host:port"):
        settings.parse_address(uri)


@pytest.mark.parametrize("uri", ["::1", "grpc://::1:5100", "2001:db8::1"])
def test_an_ipv6_address_without_brackets_is_refused_with_advice(uri: str) -> None:
    with pytest.raises(InvalidArgument, match=r"in brackets: grpc://\[::1\]:5100"):
        settings.parse_address(uri)


@pytest.mark.parametrize(
    ("host", "variables", "expected"),
    [
        ("tracking.example.org", {"http_proxy": "http://p:1"}, "http_proxy"),
        ("tracking.example.org", {"http_proxy": "http://p:1", "https_proxy": "http://q:1"}, "https_proxy"),
        ("tracking.example.org", {"http_proxy": "http://p:1", "no_proxy": "a, .example.org"}, ""),
        ("tracking.example.org", {}, ""),
        ("127.0.0.1", {"http_proxy": "http://p:1"}, ""),
    ],
)
def test_the_proxy_of_a_host_is_the_one_that_grpc_uses(
    monkeypatch: pytest.MonkeyPatch, host: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert settings.proxy_of(host) == expected


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "sqlite:///mlruns.db", "file:///tmp/mlruns"])
def test_another_scheme_is_refused_by_its_name(uri: str) -> None:
    scheme = uri.partition(":")[0]

    with pytest.raises(InvalidArgument, match=rf"scheme '{scheme}'.*grpc://host:port") as refusal:
        settings.parse_address(uri)

    assert refusal.value.metadata == {"tracking_uri": uri, "scheme": scheme}


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1.5 h", 5400)])
def test_a_duration_has_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("MODELRY_TIMEOUT", text)

    assert settings.read().timeout == seconds


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("MODELRY_TIMEOUT", "30", "unit"),
        ("MODELRY_TIMEOUT", "0s", "at least 1ms"),
        ("MODELRY_START_TIMEOUT", "0ms", "at least 1ms"),
        ("MODELRY_EXIT_TIMEOUT", "soon", "unit"),
        ("MODELRY_BUFFER_POINTS", "-1", "above 0"),
        ("MODELRY_INSECURE", "maybe", "1 or 0"),
    ],
)
def test_a_setting_that_cant_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, wanted: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidArgument, match=rf"{variable}='{value}'.*{wanted}"):
        settings.read()


def test_threads_and_the_exit_take_the_default_for_a_setting_that_cant_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELRY_EXIT_TIMEOUT", "2m")
    monkeypatch.setenv("MODELRY_BUFFER_POINTS", "-1")

    usable = settings.usable()

    assert (usable.exit_timeout, usable.buffer_points) == (120.0, 2_000_000)


def test_the_spool_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MODELRY_SPOOL_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    by_default = settings.read().spool_folder
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "mine"))
    chosen = settings.read().spool_folder

    assert (by_default, chosen) == (tmp_path / "state" / "modelry" / "spool", tmp_path / "mine")


@pytest.mark.parametrize("variable", ["MODELRY_SPOOL_DIR", "XDG_STATE_HOME", "HOME"])
def test_a_relative_spool_stays_where_it_was_when_the_program_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.delenv("MODELRY_SPOOL_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, f"relative-{tmp_path.name}")
    monkeypatch.chdir(tmp_path)

    first = settings.read().spool_folder
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert settings.read().spool_folder == first
    assert first.is_relative_to(tmp_path / f"relative-{tmp_path.name}")
