"""Makes docs/configuration.md from the server's configuration classes. `--check` tells whether it is up to date."""

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

An option overrides the environment, and the environment overrides the file. Durations and sizes have a unit: `5ms`,
`2s`, `30m`, `24h`, at most `365d`; `512KiB`, `64MiB`. An address is `host:port`, with an IPv6 host in brackets
(`[::1]:5100`), or `unix:PATH`. A server with mistakes in its configuration does not start. It reports all of them at
once, each with the value, where it is from (file and line, variable or option) and what is right. A variable that
begins with `MODELRY_<SECTION>_` and is no setting is a mistake too, unless it is one of the SDK
([sdk.md](sdk.md#settings)) or Kubernetes made it for a service. Passwords and keys are never shown. A relative path in
a file (`data_folder`, `local_folder`, a `sqlite:///` URL) is relative to the folder of that file; in a variable or
option it is relative to the current folder.

"""


def main() -> int:
    """Writes the page. With `--check`, compares it instead; the answer is 1 if it differs."""
    made = HEAD + reference(Config).rstrip() + "\n"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    print("docs/configuration.md is out of date; run: python docs/configuration.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
