"""The page about access shows the table of the server, and not another one."""

from __future__ import annotations

from modelry_server.permissions import INSTALLATION_ONLY, MEANINGS, ROLE_NOTES, ROLES, Permission
from tests.docs.pages import read


def permissions() -> str:
    """The table of permissions and of the roles that have them."""
    lines = [f"| permission | allows to | {' | '.join(ROLES)} |", f"| --- | --- |{' --- |' * len(ROLES)}"]
    for permission in sorted(Permission, key=lambda each: each in INSTALLATION_ONLY):
        star = " \\*" if permission in INSTALLATION_ONLY else ""
        has = " | ".join("yes" if permission in role else "" for role in ROLES.values())
        lines.append(f"| `{permission}`{star} | {MEANINGS[permission]} | {has} |".replace("|  |", "| |"))
    return "\n".join(lines).replace("|  |", "| |")


def roles() -> str:
    """The table of the roles that are part of Modelry."""
    return "\n".join(["| role | for |", "| --- | --- |", *(f"| `{name}` | {ROLE_NOTES[name]} |" for name in ROLES)])


def test_the_page_has_the_table_of_permissions() -> None:
    assert permissions() in read("docs/access.md"), f"write into the page:\n{permissions()}"


def test_the_page_has_the_table_of_roles() -> None:
    assert roles() in read("docs/access.md"), f"write into the page:\n{roles()}"
