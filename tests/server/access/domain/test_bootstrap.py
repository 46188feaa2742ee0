"""The bootstrap token, and the first administrator."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelry_server.access.domain.bootstrap import FILE
from modelry_server.access.domain.token_texts import TextKind, kind_of, new_text
from modelry_server.access.errors import PrincipalExists
from modelry_server.access.store import state
from modelry_server.kernel import caller
from modelry_server.kernel.access import Kind
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.config import ConfigurationInvalid, Secret
from modelry_server.kernel.errors import CredentialInvalid, FieldInvalid, PermissionMissing
from modelry_server.kernel.sql.database import Database
from tests.server.access.conftest import TRACE, Installation


def written_text(folder: Path) -> str:
    return (folder / FILE).read_text().strip()


def digest(installation: Installation) -> str:
    with installation.db.read() as tx:
        return state.bootstrap_digest(tx)


def test_a05_a_new_installation_writes_a_token_that_only_its_user_can_read(installation: Installation) -> None:
    installation.bootstrap.ensure()

    file = installation.folder / FILE
    text = written_text(installation.folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kind_of(text) is TextKind.BOOTSTRAP
    assert text not in repr(installation.records()) + digest(installation)
    assert sorted(os.listdir(installation.folder)) == sorted({FILE, *os.listdir(installation.folder)})
    assert not [name for name in os.listdir(installation.folder) if name.startswith(f".{FILE}")]


def test_the_token_survives_restarts(installation: Installation) -> None:
    installation.bootstrap.ensure()
    text = written_text(installation.folder)

    replace(installation).bootstrap.ensure()

    assert written_text(installation.folder) == text
    assert installation.identities.identity(text).identity.is_bootstrap


def test_a05_it_makes_the_first_administrator_once_and_is_gone(installation: Installation) -> None:
    installation.bootstrap.ensure()
    text = written_text(installation.folder)

    with installation.by(text, Kind.BOOTSTRAP):
        principal, token, secret = installation.bootstrap.create_administrator("ada", "Ada L.")
        with pytest.raises(CredentialInvalid):
            installation.bootstrap.create_administrator("eve", "")

    known = installation.identities.identity(secret)
    assert (known.identity.principal_id, known.identity.credential_id) == (principal.principal_id, token.token_id)
    assert "principals.write" in known.grants.everywhere
    assert not (installation.folder / FILE).exists()
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(text)
    replace(installation).bootstrap.ensure()
    assert digest(installation) == ""
    actions = [record.members()["action"] for record in installation.records()]
    assert actions == [
        *("bootstrap_token.created", "principal.created", "role_binding.created", "token.created"),
        "bootstrap_token.used",
    ]
    assert {record.members().get("actor") for record in installation.records()[1:]} == {"bootstrap"}


def test_what_is_refused_leaves_the_token_as_it_was(installation: Installation) -> None:
    installation.principal("ada")
    installation.bootstrap.ensure()
    text = written_text(installation.folder)

    with installation.by(text, Kind.BOOTSTRAP):
        with pytest.raises(FieldInvalid):
            installation.bootstrap.create_administrator("", "x" * 251)
        with pytest.raises(PrincipalExists):
            installation.bootstrap.create_administrator("ada", "")
        assert installation.bootstrap.create_administrator("eve", "")


def test_nothing_else_makes_an_administrator(installation: Installation) -> None:
    _, text = installation.token(installation.principal("ada", "admin"))

    with installation.by(text, Kind.BOOTSTRAP), pytest.raises(PermissionMissing):
        installation.bootstrap.create_administrator("eve", "")
    with caller.using(Caller("eve", TRACE, permission=Kind.BOOTSTRAP)), pytest.raises(PermissionMissing):
        installation.bootstrap.create_administrator("eve", "")


def test_of_two_who_use_it_at_once_one_wins(installation: Installation) -> None:
    installation.bootstrap.ensure()
    text = written_text(installation.folder)
    both = threading.Barrier(2)

    def use(name: str) -> bool:
        with installation.by(text, Kind.BOOTSTRAP):
            both.wait(10)
            try:
                installation.bootstrap.create_administrator(name, "")
            except CredentialInvalid:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, ["ada", "eve"])) == [False, True]


def test_the_settings_can_give_the_token(installation: Installation) -> None:
    given = new_text(TextKind.BOOTSTRAP)
    installation.bootstrap.ensure()
    old = written_text(installation.folder)

    configured = replace(installation, given=Secret(given))
    configured.bootstrap.ensure()

    assert configured.identities.identity(given).identity.is_bootstrap
    assert not (installation.folder / FILE).exists()
    with pytest.raises(CredentialInvalid):
        configured.identities.identity(old)


@pytest.mark.parametrize(
    "wrong",
    ["hunter2", "mdy_b_" + "0" * 36, new_text(TextKind.API_TOKEN)],
    ids=["no form", "wrong checksum", "other kind"],
)
def test_a_setting_that_is_no_bootstrap_token_is_refused_and_not_shown(installation: Installation, wrong: str) -> None:
    with pytest.raises(ConfigurationInvalid) as refusal:
        replace(installation, given=Secret(wrong)).bootstrap.ensure()

    assert wrong not in str(refusal.value)
    assert digest(installation) == ""


def test_where_there_is_an_administrator_there_is_no_token(installation: Installation) -> None:
    installation.bootstrap.ensure()
    text = written_text(installation.folder)
    installation.principal("ada", "admin")

    with installation.by(text, Kind.BOOTSTRAP), pytest.raises(CredentialInvalid):
        installation.bootstrap.create_administrator("eve", "")
    replace(installation).bootstrap.ensure()

    assert digest(installation) == ""
    assert not (installation.folder / FILE).exists()


def test_a_token_in_the_settings_makes_one_more_administrator_and_is_not_revived(installation: Installation) -> None:
    installation.principal("ada", "admin")
    given = new_text(TextKind.BOOTSTRAP)
    configured = replace(installation, given=Secret(given))

    configured.bootstrap.ensure()
    with configured.by(given, Kind.BOOTSTRAP):
        eve, _, secret = configured.bootstrap.create_administrator("eve", "")
        with pytest.raises(CredentialInvalid):
            configured.bootstrap.create_administrator("bob", "")
    replace(configured).bootstrap.ensure()

    assert "principals.write" in installation.identities.identity(secret).grants.everywhere
    assert installation.identities.identity(secret).identity.principal_id == eve.principal_id
    assert digest(installation) == ""
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(given)
    actions = [str(record.members()["action"]) for record in installation.records()]
    assert [each for each in actions if each.startswith("bootstrap")] == [
        *("bootstrap_token.created", "bootstrap_token.used"),
    ]


def test_a_token_that_left_the_settings_makes_no_further_administrator(installation: Installation) -> None:
    installation.principal("ada", "admin")
    given = new_text(TextKind.BOOTSTRAP)
    replace(installation, given=Secret(given)).bootstrap.ensure()

    with installation.by(given, Kind.BOOTSTRAP), pytest.raises(CredentialInvalid):
        installation.bootstrap.create_administrator("eve", "")
    installation.bootstrap.ensure()

    assert digest(installation) == ""


def test_a_replica_without_the_setting_says_that_it_ended_the_token_of_another_one(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    installation.principal("ada", "admin")
    given = new_text(TextKind.BOOTSTRAP)
    replace(installation, given=Secret(given)).bootstrap.ensure()
    before = "bootstrap.removed" in caplog.messages

    installation.bootstrap.ensure()
    installation.bootstrap.ensure()

    [told] = [each.modelry_fields for each in caplog.records if each.message == "bootstrap.removed"]  # type: ignore[attr-defined]
    assert not before
    assert "restart all processes of access with the same access.bootstrap_token" in told["right"]
    assert given not in str(told)


def test_of_processes_that_start_at_once_the_first_makes_the_token(installation: Installation) -> None:
    def start(number: int) -> Installation:
        folder = installation.folder / f"replica-{number}"
        folder.mkdir()
        started = replace(installation, folder=folder)
        started.bootstrap.ensure()
        return started

    is_shared = installation.db.backend.file is None  # only a database on a server has several data folders
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(start, range(4 if is_shared else 1)))

    texts = [written_text(each.folder) for each in started if (each.folder / FILE).exists()]
    assert len(texts) == 1
    assert installation.identities.identity(texts[0]).identity.is_bootstrap


def test_a_file_that_is_lost_comes_again_where_no_other_process_can_have_it(installation: Installation) -> None:
    installation.bootstrap.ensure()
    old = written_text(installation.folder)
    (installation.folder / FILE).unlink()

    replace(installation).bootstrap.ensure()

    if installation.db.backend.file is None:
        assert not (installation.folder / FILE).exists()
        assert installation.identities.identity(old).identity.is_bootstrap
    else:
        assert installation.identities.identity(written_text(installation.folder)).identity.is_bootstrap
        with pytest.raises(CredentialInvalid):
            installation.identities.identity(old)


def test_what_a_start_that_was_broken_off_has_left_is_replaced(db: Database, installation: Installation) -> None:
    left = new_text(TextKind.BOOTSTRAP)
    (installation.folder / FILE).write_text(left)

    installation.bootstrap.ensure()

    assert written_text(installation.folder) != left
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(left)


def test_the_data_folder_is_made_where_nothing_else_has_made_it(installation: Installation) -> None:
    elsewhere = replace(installation, folder=installation.folder / "of" / "access")

    elsewhere.bootstrap.ensure()

    assert stat.S_IMODE(elsewhere.folder.stat().st_mode) == 0o700
    assert installation.identities.identity(written_text(elsewhere.folder)).identity.is_bootstrap


def test_what_is_in_the_way_of_the_file_is_told_and_stays(installation: Installation) -> None:
    (installation.folder / FILE).mkdir()

    with pytest.raises(ConfigurationInvalid, match=FILE):
        installation.bootstrap.ensure()

    assert (installation.folder / FILE).is_dir()
    assert not digest(installation)
