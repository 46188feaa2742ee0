"""Runs the shared workloads against Modelry and its peers.

    python tests/bench/run.py --harness ../shared/bench modelry -o backend=sqlite --tag sqlite -w W1,W3

`--harness` (or MODELRY_BENCH_HARNESS) is the folder of the harness; all other arguments are the harness's own, see its
README. The peer `modelry` is the adapter in `peers/modelry.py`; other peers are the harness's. Results go to `results/`
beside this file. Each system needs a Python that has it: run Modelry with this project's, MLflow with one that has it.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if "--harness" in sys.argv:
    at = sys.argv.index("--harness")
    os.environ["MODELRY_BENCH_HARNESS"] = str(Path(sys.argv[at + 1]).resolve())
    del sys.argv[at : at + 2]
# At import, since worker processes import this file again before they unpickle the adapter.
sys.path[:0] = [os.environ.get("MODELRY_BENCH_HARNESS", str(HERE.parents[2] / "shared" / "bench"))]

import peers  # noqa: E402

peers.__path__.insert(0, str(HERE / "peers"))

import bench  # noqa: E402

bench.HERE = Path(os.environ.get("MODELRY_BENCH_RESULTS", HERE))

if __name__ == "__main__":
    (bench.HERE / "results").mkdir(parents=True, exist_ok=True)
    bench.main()
