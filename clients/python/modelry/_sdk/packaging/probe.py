"""Run as a script by the Python of a fresh environment, never imported: loads a model there and tries its example.

It uses nothing of Modelry. Its arguments are the folder of the model and the file that gets the outcome, as JSON.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any


def _outcome(folder: str) -> dict[str, Any]:
    step = "load"
    try:
        import mlflow.pyfunc
        from mlflow.models import Model

        model = mlflow.pyfunc.load_model(folder)
        described = Model.load(folder)
        step = "example"
        if not described.saved_input_example_info:
            return {"predicted": False}
        data, params = described.load_input_example(folder), described.load_input_example_params(folder)
        step = "prediction"
        model.predict(data, params=params)
        return {"predicted": True}
    except ModuleNotFoundError as missing:
        return {"step": "import", "subject": missing.name or "", "reason": str(missing), "at": step}
    except BaseException as problem:
        last = traceback.extract_tb(problem.__traceback__)[-1:]
        where = f"{Path(last[0].filename).name}:{last[0].lineno}" if last else ""
        return {"step": step, "subject": type(problem).__name__, "reason": str(problem)[:1000], "at": where}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(_outcome(sys.argv[1])), encoding="utf-8")
