"""Where in a distributed job this process is, and what its metrics are called for that."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
"""Where launchers of distributed jobs say which process of the job this is: torchrun, Slurm, Open MPI, MPICH."""
_SIZES = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Where they say how many processes the job has."""
_LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
"""Where they say which process of its node this is."""
_LONGEST_NODE = 100


def rank() -> str:
    """Which process of a distributed job this is. Empty if it is none."""
    return _first(_RANKS) or _rank_on_first_node()


def _rank_on_first_node() -> str:
    """PyTorch Lightning tells a process that it starts its place on its node alone: on the first node, its rank."""
    return os.environ.get("LOCAL_RANK", "") if os.environ.get("NODE_RANK") == "0" else ""


def is_one_of_several() -> bool:
    """Whether this process is one of several of a distributed job."""
    return _first(_SIZES) not in {"", "1"} or rank() not in {"", "0"}


def is_first() -> bool:
    """Whether this is the first process of a distributed job, or of no such job."""
    return rank() in {"", "0"}


@dataclass(frozen=True, slots=True)
class Naming:
    """What the metrics of the machine and of this process are called."""

    node: str
    rank: str
    is_first_of_node: bool

    @classmethod
    def of_process(cls, node_id: str | None = None) -> Naming:
        """By the environment. `node_id` is what the program calls the machine, by default its host name."""
        is_several = is_one_of_several()
        node = node_id or (socket.gethostname() if is_several else "")
        return cls(
            node=node.replace("/", "_")[:_LONGEST_NODE],
            rank=(rank() or "0") if is_several else "",
            is_first_of_node=not is_several or _first(_LOCAL_RANKS) in {"", "0"},
        )

    @property
    def is_several(self) -> bool:
        """Whether there are other processes of the job."""
        return bool(self.rank)

    def named(self, of_node: Mapping[str, float], of_process: Mapping[str, float]) -> dict[str, float]:
        """The values by the names of their metrics.

        `system/NAME` for a process alone. With several, `system/NODE/NAME` is logged by the first process of each node,
        and `system/NODE/rank_RANK/NAME` by each for itself.
        """
        node = f"system/{self.node}/" if self.node else "system/"
        own = f"{node}rank_{self.rank}/" if self.rank else node
        named = {node + name: value for name, value in of_node.items()} if self.is_first_of_node else {}
        return named | {own + name: value for name, value in of_process.items()}


def _first(names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := os.environ.get(name))), "")
