from __future__ import annotations

import importlib
import importlib.metadata
import json
import pickle
from pathlib import Path

import numpy
import pandas
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from modelry._sdk.requiring import requirements


def pinned(*packages: str) -> list[str]:
    return [f"{package}=={importlib.metadata.version(package)}" for package in sorted(packages)]


def by_value(source: str) -> dict[str, object]:
    """What a notebook or script defines: it lies in no module, so it is pickled with its code."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(source, names)
    return names


def test_a_model_needs_the_packages_of_its_parts_and_nothing_else() -> None:
    forest = RandomForestClassifier(3).fit([[0.0], [1.0]], [0, 1])

    assert requirements.inferred(forest) == pinned("numpy", "scikit-learn")


def test_an_input_example_counts_too() -> None:
    assert requirements.inferred([], pandas.DataFrame([[1]])) == pinned("numpy", "pandas")


def test_what_a_function_of_a_script_uses_and_imports_is_needed() -> None:
    defined = by_value(
        """
import numpy as np
import pandas as pd

def transform(x):
    import os
    from google.protobuf import message
    return np.log1p(x)
"""
    )

    found = requirements.inferred(make_pipeline(FunctionTransformer(defined["transform"])))

    assert set(pinned("numpy", "protobuf", "scikit-learn")) <= set(found)
    assert not any(pin.startswith(("pandas", "google")) for pin in found)


def test_what_the_methods_of_a_class_of_a_script_import_is_needed() -> None:
    defined = by_value(
        """
class Model:
    def predict(self, x):
        def inner():
            import yaml
        return inner
"""
    )
    model = defined["Model"]()  # type: ignore[operator]

    assert pinned("PyYAML")[0] in requirements.inferred(model)


def test_a_script_is_read_without_being_run() -> None:
    script = compile("import numpy.linalg\nraise SystemExit", "model.py", "exec")

    assert requirements.inferred(script) == pinned("numpy")


def test_what_can_not_be_pickled_is_read_as_far_as_it_goes() -> None:
    class Stubborn:
        def __reduce__(self) -> str:
            raise pickle.PicklingError("no")

    assert pinned("numpy")[0] in requirements.inferred([numpy.zeros(1), Stubborn()])


def test_nothing_is_copied_to_find_out() -> None:
    large = numpy.zeros(2**27)

    found = requirements.inferred([large])

    assert found == pinned("numpy")


@pytest.mark.parametrize(
    ("groups", "result"),
    [
        ([["b==1", "a"], ["B>=2"]], ["a", "B>=2"]),
        ([["my_pkg==1"], ["My.Pkg[extra]==2 ; python_version > '3'"]], ["My.Pkg[extra]==2 ; python_version > '3'"]),
        ([["a"], ["-r more.txt"], []], ["-r more.txt", "a"]),
    ],
)
def test_of_two_requirements_of_one_package_the_later_group_holds(groups: list[list[str]], result: list[str]) -> None:
    assert requirements.merged(*groups) == result


def test_cloudpickle_itself_is_named_only_where_it_is_needed_to_load() -> None:
    assert requirements.inferred({"a": [1, 2.0]}) == []
    assert requirements.inferred(lambda: 1) == pinned("cloudpickle")


def test_a_module_of_the_project_is_read_for_what_it_imports_and_no_other_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bicycles"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text("from . import scaling\nclass Model:\n    pass\n")
    (package / "scaling.py").write_text("from .deep import units\n")
    (package / "deep.py").write_text("import numpy\nunits = 1\n")
    (package / "training.py").write_text("import matplotlib\nfrom bicycles.models import Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    training = importlib.import_module("bicycles.training")

    assert requirements.inferred(training.Model()) == pinned("numpy")


def a_package(
    site: Path, name: str, direct_url: dict[str, object], installer: str = "pip", version: str = "9.9.9"
) -> str:
    """An installed package with a module of its name, as pip notes it; returns the name of the module."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text("def double(x): return x * 2\n")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    (info / "direct_url.json").write_text(json.dumps(direct_url))
    return module


@pytest.mark.parametrize(
    ("name", "direct_url", "installer", "required", "is_told"),
    [
        ("kf-folder", {"url": "file:///src/a", "dir_info": {}}, "pip", " @ file:///src/a", True),
        ("kf-editable", {"url": "file:///src/a", "dir_info": {"editable": True}}, "pip", " @ file:///src/a", True),
        ("kf-wheel", {"url": "file:///w/a.whl", "archive_info": {}}, "pip", "==9.9.9", True),
        ("kf-web", {"url": "https://x.test/a.whl", "archive_info": {}}, "pip", " @ https://x.test/a.whl", False),
        (
            "kf-git",
            {"url": "https://x.test/a", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}, "subdirectory": "py"},
            "pip",
            " @ git+https://x.test/a@1a2b#subdirectory=py",
            False,
        ),
        ("kf-conda", {"url": "file:///croot/a", "dir_info": {}}, "conda", "==9.9.9", False),
    ],
)
def test_what_came_from_no_index_is_required_from_where_it_came(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    direct_url: dict[str, object],
    installer: str,
    required: str,
    is_told: bool,
) -> None:
    a_package(tmp_path, name, direct_url, installer)
    monkeypatch.syspath_prepend(str(tmp_path))

    needed = requirements.pinned(name)
    requirements.tell_local(needed)

    assert needed == [f"{name}{required}"]
    assert [name in said for said in caplog.messages] == ([True] if is_told else [])


def test_a_build_is_pinned_without_its_label_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_package(tmp_path, "kf-build", {}, version="2.15.0+cu132")
    a_package(tmp_path, "kf-plain", {}, version="2.15.0")
    monkeypatch.syspath_prepend(str(tmp_path))

    needed = requirements.pinned("kf-build", "kf-plain")
    requirements.tell_builds(needed)
    requirements.tell_builds(["kf-build==2.15.0+cu132", "kf-build>=2", "--extra-index-url https://x.test"])

    assert needed == ["kf-build==2.15.0", "kf-plain==2.15.0"]
    (said,) = caplog.messages
    assert "kf-build 2.15.0+cu132;" in said
    assert "--extra-index-url" in said


def test_modules_of_the_project_that_do_not_go_with_the_model_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in ("feat_of_a_test", "later_of_a_test"):
        (tmp_path / f"{module}.py").write_text("def double(x): return x * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    feat = importlib.import_module("feat_of_a_test")
    late = by_value("def f(x):\n    import later_of_a_test\n    import not_there_of_a_test\n    return x\n")["f"]

    used = requirements.modules_of(FunctionTransformer(feat.double), FunctionTransformer(late))
    requirements.tell_missing(used, [])
    requirements.tell_missing(used, [str(tmp_path / "feat_of_a_test.py"), tmp_path / "later_of_a_test.py"])

    (said,) = caplog.messages
    assert "missing: feat_of_a_test, later_of_a_test;" in said


def test_a_build_is_required_by_its_version_and_told_with_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, version in {"torch-made-up": "2.13.0+cu132", "own-made-up": "1.0+ours"}.items():
        described = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    needed = requirements.pinned("torch-made-up", "own-made-up")
    requirements.tell_builds(needed)

    assert needed == ["torch-made-up==2.13.0", "own-made-up==1.0"]
    assert "torch-made-up 2.13.0+cu132, own-made-up 1.0+ours" in caplog.text
    assert "'--extra-index-url https://download.pytorch.org/whl/cu132', 'torch-made-up==2.13.0+cu132'" in caplog.text
