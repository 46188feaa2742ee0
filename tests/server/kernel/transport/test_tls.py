"""TLS of the listeners: what is encrypted, with which certificate, and who may come with one of their own."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import ServiceUnavailable
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.client_certificates import ClientCertificate, client_certificate
from modelry_server.kernel.transport.tls import Files, FileUnusable, ServerTls, authorities_in, client_credentials
from tests.parts import free_port
from tests.parts.certificates import Authority, Pair
from tests.server.kernel.stage import KEY, Stage, ask, staged

DAY_MS = 86_400_000


class At(Clock):
    """A clock that a test sets."""

    def __init__(self, moment: datetime) -> None:
        self.ms = round(moment.timestamp() * 1000)

    def now(self) -> int:
        return self.ms


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


def files(pair: Pair, clients: Path | None = None) -> Files:
    return Files(pair.certificate, pair.key, clients)


@contextmanager
def reached(
    address: str, authority: Authority, own: Pair | None = None, name: str = "localhost"
) -> Iterator[grpc.Channel]:
    """A channel with TLS to a port of this machine, with a connection of its own."""
    key, chain = (own.key.read_bytes(), own.certificate.read_bytes()) if own else (None, None)
    trusted = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, chain)
    target = f"{name}:{address.rpartition(':')[2]}"
    with grpc.secure_channel(target, trusted, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def shown(address: str) -> str:
    """The fingerprint of the certificate that a server shows to a new connection."""
    pem = ssl.get_server_certificate(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_calls_and_streams_work_over_tls(authority: Authority, pair: Pair, name: str) -> None:
    with (
        staged(play=lambda: iter([1, 2]), tls=ServerTls(files(pair))) as stage,
        reached(stage.address, authority, name=name) as channel,
    ):
        stream = tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest(), timeout=20)

        assert ask(channel, "a") == "a"
        assert [each.point_count for each in stream] == [1, 2]


def test_o06_plain_text_gets_no_answer_from_a_port_with_tls(authority: Authority, pair: Pair) -> None:
    with staged(tls=ServerTls(files(pair))) as stage:
        for address in (stage.address, stage.internal):
            with (
                grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel,
                pytest.raises(grpc.RpcError) as refusal,
            ):
                ask(channel, "a")
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_o06_old_versions_of_tls_are_refused(authority: Authority, pair: Pair) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.file)
    context.set_ciphers("ALL:@SECLEVEL=0")

    def spoken(version: ssl.TLSVersion, address: str) -> str | None:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            return secured.version()

    with staged(tls=ServerTls(files(pair))) as stage:
        assert spoken(ssl.TLSVersion.TLSv1_2, stage.address) == "TLSv1.2"
        with pytest.raises(ssl.SSLError, match=r"ALERT_PROTOCOL_VERSION|UNEXPECTED_EOF"):  # the server ends it
            spoken(ssl.TLSVersion.TLSv1_1, stage.address)


def test_a_unix_socket_stays_as_it_is(tmp_path: Path, pair: Pair) -> None:
    inside = f"unix:{tmp_path / 's.sock'}"

    with (
        staged(tls=ServerTls(files(pair)), internal_address=inside),
        grpc.insecure_channel(inside) as channel,
        pytest.raises(grpc.RpcError) as refusal,
    ):
        ask(channel, "a")

    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_new_connections_get_a_new_certificate_while_calls_run_and_none_fails(authority: Authority, pair: Pair) -> None:
    seen = []
    with (
        staged(tls=ServerTls(files(pair))) as stage,
        ThreadPoolExecutor(8) as pool,
        reached(stage.address, authority) as first,
    ):
        assert ask(first, "before") == "before"

        def calls() -> None:
            for number in range(20):
                with reached(stage.address, authority) as own:
                    assert ask(own, f"own {number}") == f"own {number}"
                assert ask(first, f"first {number}") == f"first {number}"

        running = [pool.submit(calls) for _ in range(4)]
        for number in range(5):
            newer = authority.issue(f"newer-{number}")
            pair.replace(newer)
            seen.append(shown(stage.address) == newer.fingerprint())
        for each in running:
            each.result()

    assert all(seen)


@pytest.mark.parametrize("wrong", ["", "half", "other key", "gone", "open"])
def test_a_pair_that_cant_be_used_leaves_the_last_good_one_and_is_logged_once(
    authority: Authority, pair: Pair, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = pair.fingerprint()
    caplog.set_level(logging.INFO, "modelry.tls")
    with staged(tls=ServerTls(files(pair))) as stage:
        newer = authority.issue("newer")
        content = newer.certificate.read_bytes()
        spoilt = {"": b"", "half": content[: len(content) // 2], "other key": content}
        if wrong in spoilt:
            pair.certificate.write_bytes(spoilt[wrong])
        elif wrong == "gone":
            pair.key.unlink()
        else:
            pair.key.chmod(0o644)

        kept = [shown(stage.address) for _ in range(3)]
        logged = [record for record in caplog.records if record.message == "tls.files_refused"]
        pair.replace(newer)
        after = shown(stage.address)

    assert kept == [before] * 3
    assert len(logged) == 1
    assert after == newer.fingerprint()
    assert "PRIVATE" not in caplog.text


def test_a_key_of_another_certificate_is_no_pair(authority: Authority, pair: Pair) -> None:
    other = authority.issue("other")

    with pytest.raises(FileUnusable, match="is not the key of the first certificate"):
        ServerTls(Files(pair.certificate, other.key))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_key_may_be_read_by_a_group(pair: Pair, mode: int) -> None:
    pair.key.chmod(mode)

    assert ServerTls(files(pair)).present().fingerprint == pair.fingerprint()


def _ends_by_metrics() -> float | None:
    return REGISTRY.get_sample_value("modelry_certificate_expiry_timestamp_seconds")


def test_metrics_tell_when_a_new_certificate_ends(authority: Authority, pair: Pair) -> None:
    tls = ServerTls(files(pair))
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)

    pair.replace(authority.issue("newer", ends=ends))
    tls.look()

    assert _ends_by_metrics() == ends.timestamp()


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=-1), "tls.certificate_expired"),
        (timedelta(days=13), "tls.certificate_ends"),
        (timedelta(days=15), None),
    ],
)
def test_a_certificate_that_ends_is_warned_of_once_a_day(
    authority: Authority, left: timedelta, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    ending = authority.issue("ending", ends=now + left)
    clock = At(now)
    tls = ServerTls(files(ending), clock=clock)

    for _ in range(3):
        tls.look()
    first = [record.message for record in caplog.records]
    clock.ms += DAY_MS // 2
    tls.look()
    same_day = [record.message for record in caplog.records]
    clock.ms += DAY_MS // 2
    tls.look()

    assert first == same_day == ([said] if said else [])
    assert _ends_by_metrics() == (now + left).replace(microsecond=0).timestamp()
    if said:
        assert [record.message for record in caplog.records] == [said] * 2
        fields: Any = caplog.records[0]
        assert fields.modelry_fields["ends"].startswith((now + left).date().isoformat())


def test_a_server_starts_with_a_certificate_that_has_expired_and_says_so(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    expired = authority.issue("expired", ends=datetime.now(UTC) - timedelta(days=1))

    with staged(tls=ServerTls(files(expired))) as stage:
        assert shown(stage.address) == expired.fingerprint()

    assert "tls.certificate_expired" in [record.message for record in caplog.records]


def test_a_certificate_that_is_not_valid_yet_is_warned_of(
    authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    ServerTls(files(pair), clock=At(datetime.now(UTC) - timedelta(days=9))).look()

    assert [record.message for record in caplog.records] == ["tls.certificate_not_yet_valid"]


@pytest.fixture
def certified(authority: Authority, pair: Pair) -> Iterator[tuple[Stage, str, list[ClientCertificate | None]]]:
    """A server with a port for clients that have certificates, where that is, and who has called."""
    met: list[ClientCertificate | None] = []
    tls = ServerTls(files(pair, authority.file))
    mtls_address = f"127.0.0.1:{free_port()}"
    with staged(
        tls=tls, mtls_address=mtls_address, notice=lambda context: met.append(client_certificate(context))
    ) as at:
        yield at, mtls_address, met


Certified = tuple[Stage, str, list[ClientCertificate | None]]


def test_a_client_is_known_by_its_certificate(authority: Authority, certified: Certified) -> None:
    _, address, met = certified
    uri = "spiffe://example.org/ns/training/sa/trainer"
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    own = authority.issue("trainer", hosts=("trainer.example.org",), uris=(uri,), common_name="Trainer", ends=ends)

    with reached(address, authority, own) as channel:
        assert ask(channel, "a") == "a"

    fingerprint = own.fingerprint()
    assert met == [ClientCertificate((uri,), ("trainer.example.org",), "Trainer", fingerprint, ends)]


def test_a_client_may_have_a_certificate_without_names(authority: Authority, certified: Certified) -> None:
    _, address, met = certified

    with reached(address, authority, authority.issue("plain", hosts=())) as channel:
        assert ask(channel, "a") == "a"

    assert met[0] is not None
    assert (met[0].uris, met[0].dns_names, met[0].common_name) == ((), (), "plain")


def test_the_other_port_asks_for_no_certificate_and_believes_none(authority: Authority, certified: Certified) -> None:
    stage, _, met = certified

    with reached(stage.address, authority, authority.issue("trainer")) as channel:
        assert ask(channel, "a") == "a"

    assert met == [None]


Making = Callable[[Authority, Path], Pair | None]


@pytest.mark.parametrize(
    "own",
    [
        lambda authority, folder: None,
        lambda authority, folder: Authority(folder / "other", "Another authority").issue("trainer"),
        lambda authority, folder: Authority(folder / "other").issue("trainer"),  # of the same name
        lambda authority, folder: authority.issue("trainer", ends=datetime.now(UTC) - timedelta(days=1)),
    ],
    ids=["none", "another", "same name", "expired"],
)
def test_a_client_without_a_certificate_of_the_authority_is_refused(
    authority: Authority, certified: Certified, tmp_path: Path, own: Making
) -> None:
    _, address, met = certified

    with reached(address, authority, own(authority, tmp_path)) as channel, pytest.raises(grpc.RpcError) as refusal:
        ask(channel, "a")

    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert met == []


def test_authorities_of_clients_are_read_again(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "Another authority")
    own, theirs = authority.issue("trainer"), other.issue("trainer")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.file.read_bytes())
    address = f"127.0.0.1:{free_port()}"
    with staged(tls=ServerTls(files(pair, clients)), mtls_address=address):
        with reached(address, authority, own) as channel:
            assert ask(channel, "before") == "before"
        new = tmp_path / "clients.new"
        new.write_bytes(other.file.read_bytes())
        os.replace(new, clients)

        with reached(address, authority, theirs) as channel:
            assert ask(channel, "after") == "after"
        with reached(address, authority, own) as channel, pytest.raises(grpc.RpcError):
            ask(channel, "refused")


def test_a_neighbour_is_believed_with_a_certificate_of_the_authority_only(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other", "Another authority")
    request = internal.GetSnapshotRequest(version_id="v")
    with staged(tls=ServerTls(files(pair))) as stage:
        good, bad = (
            Neighbour("access", stage.internal, key=KEY, credentials=client_credentials(each.file))
            for each in (authority, stranger)
        )
        method = good.stub(internal.SnapshotServiceStub).GetSnapshot

        assert good.call(method, request).snapshot.version_id == "v"
        with pytest.raises(ServiceUnavailable):
            bad.call(bad.stub(internal.SnapshotServiceStub).GetSnapshot, request)
        good.close()
        bad.close()


def test_a_file_without_certificates_has_no_authorities(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    with pytest.raises(FileUnusable, match="must have one certificate or more"):
        authorities_in(tmp_path / "ca.pem")
