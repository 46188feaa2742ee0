"""What the code says of the reasons with which an rpc can fail: followed from its servicer through the calls.

The walk follows what can be read without running anything: names of functions and classes, methods of what has an
annotated type, and calls to other services. What it can't see is a function that arrives as an unannotated argument. So
it may find a reason that no request leads to, but hardly misses one.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from modelry_server.kernel.access import Access, WorkspaceNotFound
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.errors import ModelryError
from tests.architecture.tree import ROOT, parsed, rpcs, server_errors, server_modules

_CONSTRUCTION = ("__init__", "__post_init__", "__enter__", "__exit__")


@dataclass(frozen=True, slots=True)
class Thing:
    """An instance of a class, of which no more is known."""

    kind: type


@dataclass(slots=True)
class Scope:
    """The names that a function sees."""

    module: types.ModuleType
    owner: type | None
    local: dict[str, object] = field(default_factory=dict)
    services: Collection[type] = ()


def reasons_of(rpc: str) -> frozenset[str]:
    """The reasons with which the code of an rpc can refuse, by its full name."""
    service, _, name = rpc[1:].partition("/")
    return _walk.function(getattr(_servicers()[service], name), _servicers()[service])


@cache
def _servicers() -> dict[str, type]:
    """The class that answers for each service."""
    known = {name[1:].partition("/")[0] for name, _ in rpcs()}
    found: dict[str, type] = {}
    for module in server_modules():
        if ".rpc." not in module.__name__:
            continue
        side = {noun.rpartition(".")[2]: noun for noun in known if f".{module.__name__.split('.')[1]}." in noun}
        found |= {side[name]: kind for name, kind in vars(module).items() if name in side}
    return found


class _Walk:
    """Goes through functions, and remembers the reasons of the errors that each makes."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, type | None], frozenset[str]] = {}
        self._open: list[tuple[object, type | None]] = []
        self._loops: set[tuple[object, type | None]] = set()

    def function(self, function: Any, owner: type | None = None) -> frozenset[str]:
        """The reasons of a function, which is a method of `owner` if that is given."""
        function = inspect.unwrap(getattr(function, "__func__", function))
        if owner is Authority:
            return frozenset()  # what it refuses with can come from any rpc
        node, key = _node_of(function), (function, owner)
        if node is None or key in self._open:
            self._loops |= {key} if node else set()
            return frozenset()
        if key in self._known:
            return self._known[key]
        self._open.append(key)
        scope = Scope(inspect.getmodule(function) or types, owner, dict(_parameters(function, owner)))
        reasons: set[str] = set()
        if owner is not None:
            scope.services = _called_services(owner)
            if function.__name__ not in _CONSTRUCTION:
                reasons |= self._constructed(owner)  # with what it keeps for later
        reasons |= self._parts(node.body, scope)
        self._open.pop()
        self._loops.discard(key)
        if not self._loops:  # else not all is known yet
            self._known[key] = frozenset(reasons)
        return frozenset(reasons)

    def _constructed(self, kind: type) -> set[str]:
        methods = [vars(kind).get(name) for name in _CONSTRUCTION]
        return {each for one in methods if isinstance(one, types.FunctionType) for each in self.function(one, kind)}

    def _parts(self, nodes: Iterable[ast.AST], scope: Scope) -> set[str]:
        return {reason for node in nodes for reason in self._part(node, scope)}

    def _part(self, node: ast.AST, scope: Scope) -> set[str]:
        """The reasons of all that is named in a part of a function, but in annotations and comparisons."""
        reasons: set[str] = set()
        match node:
            case ast.FunctionDef(args=args, body=body):
                for each in [*args.args, *args.kwonlyargs]:
                    if each.annotation is not None and isinstance(kind := self.value(each.annotation, scope), type):
                        scope.local[each.arg] = Thing(kind)
                return self._parts(body, scope)
            case ast.Try(body=body, handlers=handlers, orelse=otherwise, finalbody=last):
                reasons = self._parts(body, scope)
                for handler in handlers:
                    reasons -= self._handled(handler, scope)
                return reasons | self._parts([*handlers, *otherwise, *last], scope)
            case ast.ExceptHandler(body=body):
                return self._parts(body, scope)
            case ast.AnnAssign(value=value):
                return self._parts([value] if value else [], scope)
            case ast.Call(func=ast.Name(id="isinstance")) | ast.Attribute(attr="reason"):
                return set()
            case ast.Name() | ast.Attribute():
                reasons = self._named(node, scope)
            case ast.Call():
                reasons = self._called(node, scope)
            case ast.withitem(context_expr=made, optional_vars=ast.Name(id=name)):
                scope.local[name] = self.value(made, scope)
        reasons |= self._parts(ast.iter_child_nodes(node), scope)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            scope.local[node.targets[0].id] = self.value(node.value, scope)
        return reasons

    def _handled(self, handler: ast.ExceptHandler, scope: Scope) -> set[str]:
        """The reasons that do not get past a handler: all that it catches, or those that it compares with."""
        given = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type else []
        kinds = tuple(kind for each in given if isinstance(kind := self.value(each, scope), type))
        inner = [each for statement in handler.body for each in ast.walk(statement)]
        if any(isinstance(each, ast.Assign) and _is_name(each.value, handler.name) for each in inner):
            return set()  # it is kept, and raised elsewhere
        if any(isinstance(each, ast.Raise) and each.exc is None for each in inner):
            return {
                each.comparators[0].value
                for each in inner
                if isinstance(each, ast.Compare) and isinstance(each.left, ast.Attribute) and each.left.attr == "reason"
                if isinstance(each.comparators[0], ast.Constant) and isinstance(each.comparators[0].value, str)
            }
        return {kind.reason for kind in server_errors() if issubclass(kind, kinds)}

    def _named(self, node: ast.Name | ast.Attribute, scope: Scope) -> set[str]:
        found = self.value(node, scope)
        if isinstance(found, type) and issubclass(found, ModelryError):
            return {found.reason}
        if isinstance(node, ast.Attribute) and (asked := [each for each in scope.services if hasattr(each, node.attr)]):
            return {reason for kind in asked for reason in self.function(getattr(kind, node.attr), kind)}
        if not isinstance(found, types.FunctionType | types.MethodType) or found in vars(Access).values():
            return set()  # what `Access` says depends on the call; who the caller is, is judged before every rpc
        of = self.value(node.value, scope) if isinstance(node, ast.Attribute) else None
        kind = of.kind if isinstance(of, Thing) else of if isinstance(of, type) else None
        reasons = set(self.function(found, kind))
        for other in _fillers(kind) if kind is not None else ():
            reasons |= self.function(getattr(other, found.__name__), other)
        return reasons

    def _called(self, node: ast.Call, scope: Scope) -> set[str]:
        called = self.value(node.func, scope)
        if called is Access.within:
            return {WorkspaceNotFound.reason}
        if called in (Access.require, Access.require_seen):
            if node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "INSTALLATION":
                return set()  # everybody knows that there is one
            unseen = [each.value for each in node.keywords if each.arg == "unseen"]
            is_given = unseen and not (isinstance(unseen[0], ast.Name) and unseen[0].id not in scope.local)
            return set() if is_given else {WorkspaceNotFound.reason}
        if isinstance(called, type) and called.__module__.startswith("modelry_server"):
            return self._constructed(called)
        return set()

    def value(self, node: ast.AST, scope: Scope) -> object:
        """What an expression stands for: a module, class or function, an instance, or None if that is not known."""
        match node:
            case ast.Name(id=name):
                return scope.local.get(name, vars(scope.module).get(name))
            case ast.Attribute(value=inner, attr=name):
                of = self.value(inner, scope)
                if isinstance(of, Thing):
                    return _kept(of.kind).get(name) or getattr(of.kind, name, None)
                return getattr(of, name, None) if isinstance(of, type | types.ModuleType) else None
            case ast.Call(func=called):
                made = self.value(called, scope)
                if isinstance(made, types.FunctionType | types.MethodType):
                    made = _hints(made).get("return")
                return Thing(made) if isinstance(made, type) else None
        return None


_walk = _Walk()


def _is_name(node: ast.AST, name: str | None) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _node_of(function: Any) -> ast.FunctionDef | None:
    """The syntax tree of a function of the server."""
    code = getattr(function, "__code__", None)
    if code is None or "/services/modelry_server/" not in code.co_filename:
        return None
    return _functions(Path(code.co_filename).relative_to(ROOT)).get((function.__name__, code.co_firstlineno))


@cache
def _functions(path: Path) -> dict[tuple[str, int], ast.FunctionDef]:
    found = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)]
    return {(node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)])): node for node in found}


def _parameters(function: Any, owner: type | None) -> Iterator[tuple[str, object]]:
    for name, kind in _hints(function).items():
        if isinstance(kind, type) and name != "return":
            yield name, Thing(kind)
    if owner is not None:
        yield next(iter(inspect.signature(function).parameters), "self"), Thing(owner)


@cache
def _hints(function: Any) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}
    found = {name: typing.get_origin(kind) or kind for name, kind in hints.items()}
    return {name: kind for name, kind in found.items() if kind is not types.UnionType}


@cache
def _kept(kind: type) -> dict[str, object]:
    """The attributes of a class whose type is known: its fields, and what `__init__` keeps."""
    found: dict[str, object] = {name: Thing(hint) for name, hint in _hints(kind).items() if isinstance(hint, type)}
    node = _node_of(vars(kind).get("__init__"))
    if node is None:
        return found
    scope = Scope(inspect.getmodule(kind) or types, kind, dict(_parameters(vars(kind)["__init__"], None)))
    for each in ast.walk(node):
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Attribute):
            found[each.targets[0].attr] = _walk.value(each.value, scope)
    return found


@cache
def _called_services(kind: type) -> tuple[type, ...]:
    """The servicers that a class asks with its stubs, such as `neighbour.stub(tracking.RunServiceStub)`."""
    node = _node_of(vars(kind).get("__init__"))
    named = {
        each.args[0].attr.removesuffix("Stub")
        for each in ast.walk(node or ast.Pass())
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "stub"
        if each.args and isinstance(each.args[0], ast.Attribute)
    }
    return tuple(kind for service, kind in _servicers().items() if service.rpartition(".")[2] in named)


@cache
def _fillers(kind: type) -> list[type]:
    """The classes of the server that fill a protocol."""
    if not getattr(kind, "_is_protocol", False) or not kind.__module__.startswith("modelry_server"):
        return []
    wanted = {name for name in vars(kind) if not name.startswith("_")}
    classes = {each for module in server_modules() for each in vars(module).values() if isinstance(each, type)}
    return [each for each in classes if each is not kind and wanted and wanted <= set(dir(each))]
