"""What every flavor does alike: find requirements, save with MLflow's code, log, and load.

A flavor is a module with `save_model`, `log_model` and `load_model`, whose names and arguments are those of MLflow.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import local_files
from modelry._sdk.packaging import (
    code_files,
    devices,
    forbidding,
    hub_code,
    judging,
    loading,
    logged,
    metadata,
    sources,
)
from modelry._sdk.packaging.takes import Formats, Takes
from modelry._sdk.requiring import credentials, locks, own_code, pickling, requirements
from modelry._sdk.schemas import advice, borrowed, checked, examples
from modelry._sdk.values import signals
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.packaging.options import LogOptions

log = logging.getLogger("modelry")

PYTHON_FUNCTION = "python_function"
_PACKAGES = {"sklearn": "scikit-learn"}  # by the name of the module
_PLACE = ("name", "registered_model_name", "run_id", "client")
_WITHOUT_EFFECT = ("await_registration_for",)
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


@contextlib.contextmanager
def _nothing_left(path: str | os.PathLike[str]) -> Iterator[None]:
    """Removes what was written to a new or empty folder if the block fails."""
    existed = os.path.lexists(path)
    was_empty = existed and os.path.isdir(path) and not os.listdir(path)
    try:
        yield
    except BaseException:
        if was_empty or not existed:
            shutil.rmtree(path, ignore_errors=True)
        if was_empty:
            os.makedirs(path, exist_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class FlavorShell:
    """The common part of a flavor.

    `module` is the module of MLflow that writes and reads its models, `name` its name in MLmodel, and `needs` the
    module of the framework, without which there is nothing to write or read. `takes` says what its models are, and
    `formats` what their files can be. `also` is another flavor that MLflow's module reads.
    """

    module: str
    name: str
    needs: str = ""
    takes: Takes | None = None
    formats: Formats | None = None
    also: str = ""

    def require(self, model: Any) -> None:
        """Raises InvalidArgument for what is no model of this flavor, and what `check` raises."""
        self.check()
        if self.takes is not None:
            self.takes.require(model)

    def require_options(self, options: Mapping[str, Any]) -> None:
        """Raises InvalidArgument for a signature, a requirement, metadata or a format that is none.

        Raises what `Formats.require` raises.
        """
        examples.require_signature(options.get("signature"))
        for name in ("pip_requirements", "extra_pip_requirements"):
            requirements.require_all(name, options.get(name))
        requirements.require_conda_file(options.get("conda_env"))
        metadata.plain(options.get("metadata"))
        if self.formats is not None:
            self.formats.require(options)

    def save(
        self,
        path: str | os.PathLike[str],
        options: dict[str, Any],
        *,
        inspected: object,
        packages: Iterable[str],
    ) -> None:
        """Saves a model with MLflow's `save_model(path=path, **options)`.

        Unless the options have requirements, they get `packages` and what `inspected` and the input example refer to,
        pinned to the installed versions. Raises MlflowException for what can't be saved.
        """
        local_files.require_no_url(path, local_files.SAVED)
        self.require_options(options)
        self._require_names("save_model", None, options)
        mlflow = self.check()
        if inspected is not None:
            used = requirements.modules_of(inspected, options.get("input_example"))
            requirements.tell_missing(used, options.get("code_paths") or ())
            if options.get("pip_requirements") is None and options.get("conda_env") is None:
                extra = requirements.listed(options.get("extra_pip_requirements"))
                needed = requirements.merged(requirements.pinned(*packages), requirements.of_modules(used), extra)
                requirements.tell_local(needed)
                requirements.tell_builds(needed)
                options = {**options, "pip_requirements": needed, "extra_pip_requirements": None}
        examples.require_fit(options.get("input_example"), options.get("signature"))
        if options.get("input_example") is not None:
            options = {**options, "input_example": examples.stored(options["input_example"])}
        if options.get("metadata") is not None:
            options = {**options, "metadata": metadata.plain(options["metadata"])}
        before = sources.stamps(options)
        with _nothing_left(path):
            self._write(mlflow, path, options, inspected)
            sources.require_same(before, options)
            credentials.require_none(os.fspath(path))
        locks.keep(path)

    @property
    def _public(self) -> str:
        return self.module.replace("mlflow", "modelry", 1)

    def _require_names(self, called: str, save: Callable[..., None] | None, options: Mapping[str, Any]) -> None:
        """Raises TypeError, as Python does, for an option that neither `save` nor MLflow's `save_model` has."""
        if "synchronous" in options:  # what other functions that log take
            raise TypeError(
                f"{self._public}.{called}() got an unexpected keyword argument 'synchronous': it returns when the "
                "model is there; log a file in the background with log_artifact or log_state_dict"
            )
        theirs = inspect.signature(self.check().save_model).parameters
        if any(each.kind is each.VAR_KEYWORD for each in theirs.values()) and self.name != PYTHON_FUNCTION:
            return
        known = {*theirs, *({} if save is None else inspect.signature(save).parameters)} - {"path", "options", "kwargs"}
        known |= {*_PLACE, *_WITHOUT_EFFECT} if called == "log_model" else set()
        if strays := [name for name in options if name not in known]:
            near = difflib.get_close_matches(strays[0], known, 1)
            raise TypeError(
                f"{self._public}.{called}() got an unexpected keyword argument "
                f"{strays[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )

    def _write(self, mlflow: Any, path: str | os.PathLike[str], options: dict[str, Any], inspected: object) -> None:
        """Writes a model with MLflow's code. Explains why it can't be pickled, which MLflow hides in its own error."""
        try:
            # MLflow's advice to change its own defaults does not apply here.
            with borrowed.errors_only(self.module, "mlflow.utils.requirements_utils"), advice.unsaid() as left_out:
                mlflow.save_model(path=os.fspath(path), **options)
        except Exception as problem:
            signals.pass_on(problem)
            if isinstance(problem, TypeError) and (stray := _UNEXPECTED.search(str(problem))) and stray[1] in options:
                said = (
                    f"{self._public}.save_model() got an unexpected keyword argument {stray[1]!r}, which it passed on"
                )
                raise TypeError(f"{said}: {problem}") from problem
            causes = (problem, problem.__cause__ or problem.__context__)
            is_pickling = any(isinstance(cause, pickling.FAILURES) for cause in causes)
            told = pickling.explained(inspected) if is_pickling else None
            if told is None:
                raise
            raise told from problem
        for message in left_out:
            _, is_of_hints, reason = message.partition("Failed to infer signature from type hint: ")
            if is_of_hints and getattr(options.get("mlflow_model"), "signature", None) is None:
                log.warning(
                    "the model has no signature, so its input is not checked: a signature can't hold the type hints of "
                    "predict (%s); use hints such as list[dict[str, float]], or give a signature or an input_example",
                    reason.partition(". ")[0].strip().rstrip("."),
                )

    def log_model(
        self,
        save: Callable[..., None],
        model: Mapping[str, Any],
        artifact_path: str | None,
        options: LogOptions,
    ) -> logged.LoggedModel:
        """Logs what `save(path=folder, **model)` writes, to the place that the options name, which get the others."""
        if self.takes is not None:
            self.require(model[self.takes.argument])
        self.require_options({**model, **options})
        self._require_names("log_model", save, {**model, **options})
        place = {key: options[key] for key in _PLACE if key in options}  # type: ignore[literal-required]
        rest = {key: value for key, value in options.items() if key not in (*_PLACE, *_WITHOUT_EFFECT)}
        return self.log(save, {**model, **rest}, logged.Destination(artifact_path=artifact_path, **place))

    def log(
        self, save: Callable[..., None], options: dict[str, Any], destination: logged.Destination
    ) -> logged.LoggedModel:
        """Logs what `save(path=folder, **options)` writes."""

        def save_to(folder: str, mlflow_model: Any) -> None:
            save(path=folder, mlflow_model=mlflow_model, **options)

        return logged.log(save_to, destination)

    def load_model(
        self,
        model_uri: str | os.PathLike[str],
        dst_path: str | os.PathLike[str] | None = None,
        *,
        client: Client | None = None,
    ) -> Any:
        """Loads a model of this flavor from `runs:/…`, `models:/…` or a folder on this machine.

        The files are downloaded to `dst_path`, or to a temporary folder. Raises NotFound if there is no model,
        InvalidArgument for a URI that can't be parsed, or a model that is refused or of another flavor.
        """
        return self.load(model_uri, dst_path=dst_path, client=client)

    def load(
        self,
        model_uri: str | os.PathLike[str],
        *,
        dst_path: str | os.PathLike[str] | None,
        client: Client | None,
        **options: Any,
    ) -> Any:
        """Loads a model from `runs:/…`, `models:/…` or a folder, with MLflow's `load_model(folder, **options)`.

        Its MLmodel file is judged before. Code that the model brings is kept apart from that of other models.
        """
        self._require_framework()
        ready = checked.checked if self.name == PYTHON_FUNCTION else lambda model: model

        def load(folder: str) -> Any:
            flavors = judging.judge(folder)
            if forbidding.is_on():
                forbidding.refuse_options(options)
            self._require_flavor(model_uri, flavors)
            judged = flavors.get(self.name, {})
            mlflow = self.check()  # now, since importing a framework may take long
            with (
                code_files.alone() if judged.get("model_code_path") else contextlib.nullcontext(),
                devices.usable_by_default() if _is_of_pytorch(judged) else contextlib.nullcontext(),
                hub_code.no_hub() if forbidding.is_on() and self._is_of_a_hub(judged) else contextlib.nullcontext(),
            ):
                return load_with_code(mlflow, folder, judged.get("code"))

        def load_with_code(mlflow: Any, folder: str, code: object) -> Any:
            if not isinstance(code, str) or not code:
                return ready(mlflow.load_model(folder, **options))
            own = own_code.OwnCode(os.path.join(folder, code))
            if self.name != PYTHON_FUNCTION:
                own_code.require_alone(own)
            with own.in_place():
                model = mlflow.load_model(folder, **options)
            return ready(own_code.guarded(model, own) if self.name == PYTHON_FUNCTION else model)

        with borrowed.other_packages_in_our_words(), advice.unsaid():
            return loading.loaded(model_uri, load, dst_path=dst_path, client=client)

    def _is_of_a_hub(self, flavor: Mapping[str, Any]) -> bool:
        """Whether a flavor is read by Transformers, which would look on a hub for what the model lacks."""
        return self.name == "transformers" or flavor.get("loader_module") == "mlflow.transformers"

    def check(self) -> Any:
        """The module of MLflow. Raises ModuleNotFoundError, which says what to install, if the framework is missing."""
        self._require_framework()
        return borrowed.mlflow_module(self.module)

    def _require_framework(self) -> None:
        if self.needs and importlib.util.find_spec(self.needs) is None:
            package = _PACKAGES.get(self.needs, self.needs)
            raise ModuleNotFoundError(
                f"models of the flavor {self.name} need {package}, which is not installed: pip install {package}",
                name=self.needs,
            )

    def _require_flavor(self, model_uri: str | os.PathLike[str], flavors: Mapping[str, Any]) -> None:
        if self.name in flavors or (self.also and self.also in flavors):
            return
        others = sorted(set(flavors) - {PYTHON_FUNCTION})
        if self.name == PYTHON_FUNCTION:
            problem, advice = "it is no Python function", f"load it with modelry.{others[0] if others else '<flavor>'}"
        else:
            problem = f"it is no model of the flavor {self.name}"
            known = [f"modelry.{each}.load_model" for each in others]
            known += ["modelry.pyfunc.load_model"] if PYTHON_FUNCTION in flavors else []
            advice = f"load it with {' or '.join(known)}"
        raise InvalidArgument(
            f"{os.fspath(model_uri)!r}: {problem}: its MLmodel has "
            + (f"the flavors {', '.join(sorted(flavors))}; {advice}" if flavors else "no flavors"),
            reason="MODEL_OF_OTHER_FLAVOR",
            metadata={"uri": os.fspath(model_uri), "flavors": ", ".join(sorted(flavors))},
        )


def _is_of_pytorch(flavor: Mapping[str, Any]) -> bool:
    """Whether a Python function is a model of PyTorch, which can be loaded where PyTorch is installed."""
    return flavor.get("loader_module") == devices.LOADER and importlib.util.find_spec("torch") is not None
