"""The name of a caller in the metadata of a call.

gRPC's metadata is ASCII. So a name is written as UTF-8, with `%XX` for each byte that is not printable ASCII and for
`%` itself.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from modelry_server.kernel.requests.fields import has_controls

METADATA = "modelry-subject"
ANONYMOUS = "anonymous"
"""The name of a caller who gives none, or one that is no name."""

_LONGEST = 250
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def encoded(subject: str) -> str:
    """The name as metadata."""
    return quote(subject, safe=_PLAIN)


def decoded(written: str) -> str:
    """The name that the metadata has: 1 to 250 characters without control characters. Otherwise `anonymous`."""
    subject = written
    if "%" in written:
        try:
            subject = "" if _BAD_ESCAPE.search(written) else unquote_to_bytes(written).decode()
        except UnicodeDecodeError:
            return ANONYMOUS
    elif not written.isascii():
        return ANONYMOUS
    return subject if 0 < len(subject) <= _LONGEST and not has_controls(subject) else ANONYMOUS
