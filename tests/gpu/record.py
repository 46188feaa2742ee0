"""Trains on the GPU without a server, and prints the system metrics that the run recorded meanwhile.

    PYTHONPATH=clients/python python tests/gpu/record.py FOLDER [SECONDS]

It needs psutil and nvidia-ml-py (the extra `system`), gRPC and protobuf, and no network: the run is kept in
FOLDER/spool as it is while a server is away. `MODELRY_SPOOL_DIR=FOLDER/spool modelry sync --address ADDRESS` brings it
to a server later, from any machine. It works with torch on the GPU, with torch on the CPU where there is no GPU, and
with NumPy where there is no torch. It exits with 1 if a GPU was used of which nothing was sampled.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(sys.argv[1]).resolve()
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
os.environ.update(
    MODELRY_TRACKING_URI="grpc://127.0.0.1:1",  # nobody listens there
    MODELRY_SPOOL_DIR=str(FOLDER / "spool"),
    MODELRY_START_TIMEOUT="1s",
    MODELRY_EXIT_TIMEOUT="1s",
    MODELRY_SYSTEM_METRICS_INTERVAL="1s",
)

import modelry  # noqa: E402
from modelry._sdk.observing import gpus  # noqa: E402
from modelry._sdk.observing.meter import Meter  # noqa: E402
from modelry._sdk.recording.buffer import Buffer  # noqa: E402

SAMPLED: dict[str, list[float]] = {}


def main() -> int:
    """Trains, and prints what was sampled."""
    _keep_what_is_logged()
    seen = gpus.found()
    for gpu in seen:
        name = gpu.name if gpu.name.startswith(gpu.vendor) else f"{gpu.vendor} {gpu.name}"
        print(f"GPU {gpu.index}: {name}, {gpu.memory_bytes / 1e9:.1f} GB, driver {gpu.driver}")
    step, on = _training()
    print(f"training for {SECONDS:g} s on {on}; {len(seen)} GPUs are seen")
    with modelry.start_run(run_name=f"on {on}") as run:
        modelry.log_params({"on": on, "seconds": SECONDS})
        until, steps = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            modelry.log_metric("loss", step(), step=steps)
            steps += 1
    print(f"run {run.run_id}, {steps} steps of training")
    for key in sorted(key for key in SAMPLED if key.startswith("system/")):
        values = SAMPLED[key]
        print(f"{key:50} n={len(values):3} min={min(values):12.2f} max={max(values):12.2f} last={values[-1]:12.2f}")
    cost = _cost_ms()
    print(f"one sample takes {cost['cpu_ms']:.2f} ms of CPU and {cost['wall_ms']:.2f} ms of time")
    summary = {"run_id": run.run_id, "on": on, "steps": steps, "cost": cost, "sampled": SAMPLED}
    (FOLDER / "sampled.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    missing = on == "cuda" and not any("gpu_" in key and "utilization" in key for key in SAMPLED)
    return 1 if missing else 0


def _keep_what_is_logged() -> None:
    """Keeps the points beside the run, since no server is there to read them from."""
    log_metric = Buffer.log_metric

    def logged(self: Buffer, key: str, value: float, *rest: object) -> None:
        SAMPLED.setdefault(key, []).append(float(value)) if key.startswith("system/") else None
        log_metric(self, key, value, *rest)  # type: ignore[arg-type]

    Buffer.log_metric = logged  # type: ignore[assignment,method-assign]


def _training() -> tuple[Callable[[], float], str]:
    """A step of training that answers with its loss, and what it runs on."""
    try:
        import torch
    except ImportError:
        import numpy

        x, w = numpy.random.default_rng(0).normal(size=(4_000, 200)), numpy.zeros(200)
        y = x @ numpy.arange(200.0)

        def numpy_step() -> float:
            nonlocal w
            error = x @ w - y
            w = w - 1e-4 * (x.T @ error) / len(x)
            return float((error**2).mean())

        return numpy_step, "numpy"
    on = "cuda" if torch.cuda.is_available() else "cpu"
    width = 8_192 if on == "cuda" else 256
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)).to(on)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    features = torch.randn(4_096, width, device=on)
    target = features.sum(dim=1, keepdim=True)

    def torch_step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(features), target)
        loss.backward()
        optimizer.step()
        return float(loss)

    return torch_step, on


def _cost_ms(samples: int = 100) -> dict[str, float]:
    meter = Meter()
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(samples):
        meter.read()
    return {
        "cpu_ms": 1000 * (time.thread_time() - cpu) / samples,
        "wall_ms": 1000 * (time.perf_counter() - wall) / samples,
    }


if __name__ == "__main__":
    sys.exit(main())
