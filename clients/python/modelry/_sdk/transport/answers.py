"""Answers that no Modelry server gives."""

from __future__ import annotations

from modelry.errors import DataLoss


def malformed(what: str) -> DataLoss:
    """The error for an answer that no Modelry server gives. `what` follows "the server sent"."""
    return DataLoss(f"the server sent {what}", reason="ANSWER_MALFORMED")
