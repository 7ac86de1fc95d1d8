"""Whether a test's source leans on the clock: compares times, sleeps, or gives a wait so little time that it may fail.

Looks at one file at a time, and does not see a clock behind a function of another file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tests.rules.source import Function, functions

CLOCKS: Final = frozenset(
    ("time", name + suffix) for name in ("monotonic", "perf_counter", "time", "process_time") for suffix in ("", "_ns")
) | {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("SystemClock", "monotonic_s")}
PASSED_THROUGH: Final = frozenset({"abs", "float", "int", "max", "min", "round", "sorted", "sum", "list"})
"""Functions that make a time of times."""
OF_A_TIME: Final = frozenset({"total_seconds", "timestamp", "replace", "astimezone"})
SLEEPS: Final = frozenset({("time", "sleep"), ("asyncio", "sleep"), ("threading", "Timer")})
WAITS: Final = frozenset({"wait", "join", "acquire", "get", "communicate", "run", "result"})
LEAST_TIMEOUT_S: Final = 60.0
"""A shared machine may give a process no turn for many seconds."""


def leans_on_the_clock(tree: ast.Module) -> dict[str, list[str]]:
    """Return what leans on the clock, with its line, by the function that it stands in; "" is the module itself."""
    named = _imported_from(tree, "time", "asyncio", "threading")
    found: dict[str, list[str]] = {}
    for name, part in [*functions(tree), ("", _without_functions(tree))]:
        nodes = list(ast.walk(part))
        times = _times_in(nodes, named)
        lines = [
            f"line {node.lineno}: {what}"
            for node in nodes
            if isinstance(node, ast.expr) and (what := _fault(node, times, named))
        ]
        if lines:
            found[name] = lines
    return found


def _fault(node: ast.expr, times: frozenset[str], named: Mapping[str, tuple[str, str]]) -> str | None:
    if isinstance(node, ast.Compare) and any(_is_time(side, times, named) for side in [node.left, *node.comparators]):
        return f"compares a time, {ast.unparse(node)}"
    if isinstance(node, ast.Call) and _callee(node, named) in SLEEPS:
        return f"sleeps, {ast.unparse(node)}"
    if isinstance(node, ast.Call) and (limit_s := _limit_s(node)) is not None and limit_s < LEAST_TIMEOUT_S:
        return f"waits for {limit_s:g} s at most, {ast.unparse(node)}"
    return None


def _limit_s(call: ast.Call) -> float | None:
    """Return the number that limits a wait; None if the call is no wait, or is limited by a name."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in WAITS:
        return None
    given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
    if call.func.attr in {"wait", "join", "result"}:
        given += call.args
    numbers = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, int | float)]
    return min(numbers, default=None)


def _times_in(nodes: Iterable[ast.AST], named: Mapping[str, tuple[str, str]]) -> frozenset[str]:
    """Return the names in a function that hold times: what is assigned from a clock, from such a name, and so on."""
    assignments = list(_assignments(nodes))
    times: frozenset[str] = frozenset()
    while True:
        more = frozenset(name for targets, value in assignments if _is_time(value, times, named) for name in targets)
        if more <= times:
            return times
        times |= more


def _assignments(nodes: Iterable[ast.AST]) -> Iterator[tuple[list[str], ast.expr]]:
    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield [name for target in targets for name in _names(target)], value
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
                yield _names(target), value
            case ast.NamedExpr(target=target, value=value):
                yield _names(target), value
            case ast.Call(func=ast.Attribute(value=ast.expr() as holder, attr="append"), args=[value]):
                yield _names(holder), value


def _names(target: ast.expr) -> list[str]:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return [name]
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [name for element in elements for name in _names(element)]
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return _names(value)
    return []


def _is_time(node: ast.expr, times: frozenset[str], named: Mapping[str, tuple[str, str]]) -> bool:
    """Whether an expression is a time: a clock's, or made of such."""

    def among(nodes: Iterable[ast.expr]) -> bool:
        return any(_is_time(one, times, named) for one in nodes)

    found = False
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found = name in times or name == "took_s" or name.endswith("_took_s")
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            found = among([left, right])
        case (
            ast.UnaryOp(operand=inner)
            | ast.Subscript(value=inner)
            | ast.Starred(value=inner)
            | ast.ListComp(elt=inner)
            | ast.GeneratorExp(elt=inner)
            | ast.SetComp(elt=inner)
        ):
            found = among([inner])
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            found = among(elements)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in PASSED_THROUGH:
            found = among(arguments)
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in OF_A_TIME and among([inner]):
            found = True
        case ast.Call():
            found = _callee(node, named) in CLOCKS
    return found


def _callee(call: ast.Call, named: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """Return what a call calls: (module or class, name); None if that is neither."""
    match call.func:
        case ast.Name(id=name):
            return named.get(name)
        case ast.Attribute(
            value=ast.Name(id=owner) | ast.Attribute(attr=owner) | ast.Call(func=ast.Name(id=owner)), attr=name
        ):
            return owner, name
    return None


def _imported_from(tree: ast.Module, *modules: str) -> dict[str, tuple[str, str]]:
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
    }


def _without_functions(tree: ast.Module) -> ast.Module:
    return ast.Module([node for node in tree.body if not isinstance(node, Function | ast.ClassDef)], [])
