"""The `modelry` command: `tree` has its commands, one file for each in `commands`.

It is the only program that may import both the SDK and the server. Both are imported when a command needs them, so that
commands like `modelry run list` start fast. Of the SDK it uses the public modules only.
"""
