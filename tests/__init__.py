"""Tests: a mirror of the source, the contract from outside, and the building's own rules."""
