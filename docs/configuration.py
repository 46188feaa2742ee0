"""Makes docs/configuration.md from the server's configuration classes; with `--check` it says whether that was done."""

from __future__ import annotations

import sys
from pathlib import Path

from modelry_server.config import Config
from modelry_server.kernel.config import reference

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Configuration of the server

Made from the code by `python docs/configuration.py`; change it there (`services/modelry_server/*/config.py`).

A setting has the same name everywhere:

| where | how | example |
| --- | --- | --- |
| file (`modelry server --config FILE`, TOML) | `key` in `[section]` | `[tracking]`, then `gap_wait = "2s"` |
| environment | `MODELRY_<SECTION>_<KEY>` | `MODELRY_TRACKING_GAP_WAIT=2s` |
| option of `modelry up`, `server`, `db upgrade`, `db status` | `--section.key` | `--tracking.gap-wait=2s` |

An option wins over the environment, the environment over the file. Durations and sizes carry their unit: `5ms`, `2s`,
`30m`, `24h`; `512KiB`, `64MiB`. A server that finds mistakes tells all of them at once, each with what would be right,
and does not start. An address is `host:port`, with an IPv6 host in brackets (`[::1]:5100`), or `unix:PATH`.
What the SDK reads from the environment stands in [sdk.md](sdk.md#settings).

"""


def main() -> int:
    """Writes the page; or with `--check` compares it, and answers 1 where it differs."""
    made = HEAD + reference(Config).rstrip() + "\n"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    print("docs/configuration.md is not what the code says; run: python docs/configuration.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
