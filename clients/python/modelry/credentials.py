"""Logins that are kept on this machine, as `modelry login` keeps them.

from modelry import credentials

for login in credentials.kept():
    print(login.server, login.issuer, login.expire_time)
"""

from __future__ import annotations

from modelry._sdk.credentials.plans import PlannedLogin
from modelry._sdk.nouns.rotating import RotatedToken, keep_token, rotate_token
from modelry._sdk.transport.logging_in import KeptLogin, kept, log_in, log_out

__all__ = ["KeptLogin", "PlannedLogin", "RotatedToken", "keep_token", "kept", "log_in", "log_out", "rotate_token"]
