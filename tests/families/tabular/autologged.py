"""What autologging records for each framework, as the table of docs/autologging.md, made by running it.

python tests/families/tabular/autologged.py writes it (in the environment of the family, see run.py).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "autologging.md"
BEGIN, END = "<!-- made by tests/families/{family}/autologged.py -->\n", "<!-- end -->\n"

FEATURES, CLASSES = load_breast_cancer(return_X_y=True, as_frame=True)
FEATURES = FEATURES.iloc[:, :5]


def logistic_regression() -> object:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(FEATURES, CLASSES)


def linear_regression() -> object:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(FEATURES, CLASSES)


def pipeline() -> object:
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), KMeans(2, random_state=1)).fit(FEATURES)


def grid_search() -> object:
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeRegressor

    return GridSearchCV(DecisionTreeRegressor(random_state=1), {"max_depth": [1, 2]}, cv=2).fit(FEATURES, CLASSES)


def cross_validation() -> object:
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeRegressor

    return cross_val_score(DecisionTreeRegressor(random_state=1), FEATURES, CLASSES, cv=2)


def xgboost_train() -> object:
    import xgboost

    data = xgboost.DMatrix(FEATURES, CLASSES)
    params = {"objective": "binary:logistic", "max_depth": 2}
    return xgboost.train(params, data, 3, evals=[(data, "eval")], early_stopping_rounds=2, verbose_eval=False)


def xgboost_classifier() -> object:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=3).fit(FEATURES, CLASSES, eval_set=[(FEATURES, CLASSES)], verbose=False)


def lightgbm_train() -> object:
    import lightgbm

    data, other = lightgbm.Dataset(FEATURES, CLASSES), lightgbm.Dataset(FEATURES, CLASSES)
    stop = lightgbm.early_stopping(2, verbose=False)
    params = {"objective": "binary", "verbose": -1}
    return lightgbm.train(params, data, 3, valid_sets=[other], valid_names=["eval"], callbacks=[stop])


def lightgbm_regressor() -> object:
    import lightgbm

    return lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(FEATURES, CLASSES)


def catboost_classifier() -> object:
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
    return model.fit(FEATURES, CLASSES, eval_set=(FEATURES, CLASSES))


def ordinary_least_squares() -> object:
    from statsmodels.regression.linear_model import OLS

    return OLS(CLASSES, FEATURES).fit()


FITS: dict[str, Callable[[], object]] = {
    "scikit-learn classifier": logistic_regression,
    "scikit-learn regressor": linear_regression,
    "scikit-learn pipeline, without targets": pipeline,
    "scikit-learn search": grid_search,
    "scikit-learn cross-validation": cross_validation,
    "`xgboost.train`": xgboost_train,
    "`XGBClassifier`": xgboost_classifier,
    "`lightgbm.train`": lightgbm_train,
    "`LGBMRegressor`": lightgbm_regressor,
    "CatBoost": catboost_classifier,
    "statsmodels": ordinary_least_squares,
}


def table(fits: dict[str, Callable[[], object]]) -> str:
    """The table, with a row for each fit. A server must be set, and autologging is off afterwards."""
    import modelry

    client = modelry.Client(modelry.get_tracking_uri())
    rows = ["| fit | params | metrics | files |", "| --- | --- | --- | --- |"]
    for title, fit in fits.items():
        modelry.autolog()
        try:
            fit()
        finally:
            run: Any = modelry.last_active_run()
            modelry.autolog(disable=True)
        paths = {each.path.partition("/")[0] for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}
        paths.discard("modelry")  # what every run records of itself
        files = sorted(f"{path}/" if "." not in path else path for path in paths)
        metrics = [name for name in run.metrics if not name.startswith("system/")]  # of fits that take a while
        cells = [title, _few(run.params), _all(metrics), _all(files)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def on_the_page(family: str) -> str:
    """The table that the page has."""
    found = re.search(re.escape(BEGIN.format(family=family)) + "(.*?)" + re.escape(END), PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def _few(names: Any) -> str:
    """The first names and how many there are: others come and go with versions of a framework."""
    shown = sorted(names)[:3]
    rest = len(names) - len(shown)
    return _all(shown) + (f" and {rest} more" if rest > 0 else "")


def _all(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def write(family: str, fits: dict[str, Callable[[], object]]) -> None:
    """Writes the table of a family into the page."""
    sys.path.insert(0, str(REPOSITORY))
    import modelry
    from tests.parts import deployment

    with tempfile.TemporaryDirectory() as folder, deployment.running("all", Path(folder)) as server:
        os.environ["MODELRY_SPOOL_DIR"] = folder
        os.environ.update(server.environment())
        modelry.set_tracking_uri(server.address)
        made = table(fits)
    begin = BEGIN.format(family=family)
    PAGE.write_text(PAGE.read_text().replace(begin + on_the_page(family), begin + made))


if __name__ == "__main__":
    write("tabular", FITS)
