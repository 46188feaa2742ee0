"""`python -m modelry_cli` is `modelry`."""

from modelry_cli.main import main

main()
