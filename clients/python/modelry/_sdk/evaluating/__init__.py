"""Evaluation: the call and its result, with intervals, a baseline and verdicts, as a run of a version."""
