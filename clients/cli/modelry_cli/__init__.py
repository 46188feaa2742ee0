"""The `modelry` command: one file for each noun, `output` alone prints.

A composition root: the only place that may import both the SDK and the server. Both are imported when a command needs
them, so that listing runs starts as fast as a program that knows no server.
"""
