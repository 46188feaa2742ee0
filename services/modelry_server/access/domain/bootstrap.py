"""The bootstrap token: a secret with which the first administrator of an installation is made, and nothing else.

It exists while nobody administers the installation. Its text is in the settings, or in a file of the data folder that
only the user of the server can read. The database has its digest only.

One in the settings counts also where there are administrators, who may have lost their credentials: who writes the
settings owns the database anyway. Each makes one administrator, and is remembered.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from modelry_server.access.domain import journal, tokens
from modelry_server.access.domain import principals as people
from modelry_server.access.domain.rights import administrators
from modelry_server.access.domain.token_texts import TextKind, digest_of, kind_of, new_text
from modelry_server.access.entities import Member, Principal, PrincipalKind, RoleBinding, Token
from modelry_server.access.store import bindings, state
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.config import ConfigurationInvalid, Secret
from modelry_server.kernel.errors import CredentialInvalid
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.ownership import write_private
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log

FILE = "bootstrap.token"
"""The file in the data folder."""
HOW_TO_MAKE = "python -c 'from modelry_server.access.domain.token_texts import *; print(new_text(TextKind.BOOTSTRAP))'"
_MOST_BYTES = 200  # of a file that may be a token

_log = Log("access")


class Bootstrap:
    """Makes the bootstrap token, and with it the first administrator. `folder` is the data folder."""

    def __init__(
        self,
        db: Database,
        access: Access,
        clock: Clock,
        *,
        folder: Path,
        given: Secret,
        lifetimes: tokens.Lifetimes,
    ) -> None:
        self._db = db
        self._access = access
        self._clock = clock
        self._file = folder / FILE
        self._given = given
        self._lifetimes = lifetimes

    def ensure(self) -> None:
        """Makes the token that is needed while nobody administers the installation, or removes the one that is not.

        One that the settings say is in force until it has been used, whoever administers.
        A token that is there stays the same, also after a restart, unless the settings say another one. Of several
        processes on one database the first makes it. Call it before calls are answered. Raises ConfigurationInvalid.
        """
        given = self._given.reveal()
        if given and kind_of(given) is not TextKind.BOOTSTRAP:
            raise ConfigurationInvalid(
                [
                    f"access.bootstrap_token = {self._given!r}: is no bootstrap token, which is `mdy_b_`, 30 random "
                    f"characters and their checksum; make one with `{HOW_TO_MAKE}`"
                ]
            )
        try:
            self._ensure(given)
        except OSError as error:
            raise ConfigurationInvalid(
                [f"{self._file}: the bootstrap token can't be read, written or removed: {error}"]
            ) from error

    def _ensure(self, given: str) -> None:
        with self._db.write() as tx:
            journal.begin(tx)
            known = state.bootstrap_digest(tx)
            is_administered = administrators.exists(tx)
            if given and not state.was_used(tx, digest_of(given)):
                wanted = digest_of(given)
                self._remove_file()
                if is_administered:
                    right = "make an administrator with it, or remove access.bootstrap_token"
                    _log.warning("bootstrap.recovery", right=right)
            elif is_administered:
                wanted = ""
                self._remove_file()
            else:
                wanted = self._kept_or_made(known)
            if wanted != known:
                state.set_bootstrap_digest(tx, wanted)
                if known and (given or is_administered):
                    right = (
                        "if it is still needed, restart all processes of access with the same access.bootstrap_token"
                    )
                    _log.warning("bootstrap.removed", right=right)
                action = "bootstrap_token.created" if wanted else "bootstrap_token.removed"
                forget = Changed(credential_id=known) if known else None
                change = journal.Change(action, "token", "bootstrap", forget=forget)
                journal.write(tx, change, now=self._clock.now())

    def create_administrator(self, name: str, display_name: str) -> tuple[Principal, Token, str]:
        """Makes an administrator and an API token of theirs, and consumes the bootstrap token, all or nothing.

        Returns them and the text of the token. Only the bootstrap token may call it. Raises PermissionMissing,
        FieldInvalid, PrincipalExists; CredentialInvalid if the bootstrap token was used meanwhile.
        """
        identity = caller.current().identity
        if identity is None or not identity.is_bootstrap:
            self._access.require(INSTALLATION)
            raise CredentialInvalid
        with Fields() as fields:
            people.judge_names(fields, name, display_name)
        text, now = new_text(TextKind.API_TOKEN), self._clock.now()
        with self._db.write() as tx:
            journal.begin(tx)
            digest, given = identity.credential_id, self._given.reveal()
            is_given = bool(given) and digest_of(given) == digest
            if state.bootstrap_digest(tx) != digest or (administrators.exists(tx) and not is_given):
                raise CredentialInvalid
            state.use_bootstrap(tx, digest, now)
            principal = people.add(tx, people.Draft(PrincipalKind.USER, name, display_name), now)
            _bind(tx, principal, now)
            draft = tokens.Draft("made by the bootstrap token", expire_time=now + self._lifetimes.usual_ms)
            token = tokens.issue(tx, principal.principal_id, draft, text, now)
            used = Changed(credential_id=identity.credential_id)
            journal.write(tx, journal.Change("bootstrap_token.used", "token", "bootstrap", forget=used), now=now)
        self._remove_file()
        return principal, token, text

    def _kept_or_made(self, known: str) -> str:
        """The digest of the token: of the one in the file if it is that of the database, or of a new one.

        If the token is in no file here, another process on this database has made it, in a data folder of its own.
        """
        in_file = self._read_file()
        if known and in_file and digest_of(in_file) == known:
            return known
        if known and self._db.backend.file is None:
            self._remove_file()
            _log.warning("bootstrap.elsewhere", right="if the file is lost, set access.bootstrap_token")
            return known
        # What a start that was broken off has left in the file was never in force.
        self._remove_file()
        text = new_text(TextKind.BOOTSTRAP)
        write_private(self._file, f"{text}\n")
        _log.warning("bootstrap.token", file=str(self._file), right="make the first administrator with it")
        return digest_of(text)

    def _read_file(self) -> str:
        """The token in the file; empty if there is none, or something else."""
        try:
            with self._file.open("rb") as file:
                text = file.read(_MOST_BYTES).decode("ascii", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        return text if kind_of(text) is TextKind.BOOTSTRAP else ""

    def _remove_file(self) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            self._file.unlink()


def _bind(tx: Transaction, principal: Principal, now: int) -> None:
    """Gives a principal the role `admin` for the whole installation."""
    subject = Member(principal.principal_id)
    binding = RoleBinding(new_id(), administrators.ROLE, subject, INSTALLATION, principal.principal_id, now)
    bindings.add(tx, binding)
    after: Mapping[str, journal.Value] = {"role": binding.role, "principal_id": principal.principal_id}
    change = journal.Change(
        "role_binding.created",
        "role_binding",
        binding.binding_id,
        after=after,
        forget=Changed(principal_id=principal.principal_id),
    )
    journal.write(tx, change, now=now)
