"""Loads the compiler of PyTorch before TensorFlow: the other way round it ends the process, as both bring LLVM."""

from __future__ import annotations

import torch._dynamo  # noqa: F401
