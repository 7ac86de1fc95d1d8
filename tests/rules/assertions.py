"""Whether a test is certain to assert something, or might pass because a list was empty.

Looks at the source: a list counts as full only where it is a literal, or a name of the module or of the function that
is given nothing but one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Final

from tests.rules.source import Function

SAME_LENGTH: Final = frozenset({"sorted", "enumerate", "reversed", "tuple", "list", "set", "frozenset"})
"""Functions whose result is empty only if their first argument is."""
ALL_OF: Final = frozenset({"zip", "product"})
"""Functions whose result is empty if any argument is."""


class Certain:
    """Whether functions of one file are certain to assert something whenever they run."""

    def __init__(
        self, tree: ast.Module, *, elsewhere: Callable[[str, str], bool] = lambda _module, _name: False
    ) -> None:
        """Look at one file.

        Args:
            tree: The file.
            elsewhere: Whether a function that is imported from a module asserts; given the module and the name.
        """
        self._functions = {node.name: node for node in tree.body if isinstance(node, Function)}
        self._imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        self._elsewhere = elsewhere
        self._full: frozenset[str] = frozenset()
        self._full = self._full_in(tree.body)
        self._asking: set[str] = set()

    def asserts(self, name: str) -> bool:
        """Whether a function that is known here is certain to assert; False if there is none of that name."""
        return name in self._functions and self.is_certain(self._functions[name])

    def is_certain(self, function: Function) -> bool:
        """Whether a function is certain to assert, a loop over what may be empty left aside."""
        if function.name in self._asking:  # it calls itself
            return False
        outside = self._full, self._functions
        self._asking.add(function.name)
        self._full |= self._full_in(function.body)
        self._functions = {**self._functions, **{one.name: one for one in function.body if isinstance(one, Function)}}
        try:
            return self._any(function.body)
        finally:
            self._full, self._functions = outside
            self._asking.discard(function.name)

    def _full_in(self, body: Iterable[ast.stmt]) -> frozenset[str]:
        """Return the names that are given a literal that is not empty, and nothing else, among some statements."""
        full: dict[str, bool] = {}
        for node in body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        full[target.id] = full.get(target.id, True) and self._runs(node.value)
        return frozenset(name for name, is_full in full.items() if is_full)

    def _any(self, body: Iterable[ast.stmt]) -> bool:
        return any(self._statement(statement) for statement in body)

    def _statement(self, node: ast.stmt) -> bool:
        found = False
        match node:
            case ast.Assert(test=test):
                found = not self._is_loop(test)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                found = any(self._calls_one(item.context_expr) for item in items) or self._any(body)
            case ast.If(body=body, orelse=orelse):
                found = self._any(body) and self._any(orelse)
            case ast.For(iter=source, body=body):
                found = self._calls_one(source) or (self._runs(source) and self._any(body))
            case ast.While(test=ast.Constant(value=True), body=body):
                found = self._any(body)
            case ast.Try(body=body, finalbody=finalbody, orelse=orelse, handlers=handlers):
                well = self._any(body) or self._any(orelse)
                found = self._any(finalbody) or (well and all(self._any(one.body) for one in handlers))
            case ast.Expr(value=value) | ast.Assign(value=value) | ast.Return(value=ast.expr() as value):
                found = self._calls_one(value)
        return found

    def _is_loop(self, test: ast.expr) -> bool:
        """Whether it is `all(... for ...)` or `not any(... for ...)` over what may be empty: true of nothing."""
        match test:
            case ast.UnaryOp(
                op=ast.Not(), operand=ast.Call(func=ast.Name(id="any"), args=[ast.GeneratorExp() as made])
            ):
                return not self._runs(made)
            case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() as made]):
                return not self._runs(made)
        return False

    def _calls_one(self, value: ast.expr) -> bool:
        """Whether an expression calls what asserts: pytest.raises and the like, or a helper that is certain to."""
        return any(self._is_assertion(node) for node in ast.walk(value) if isinstance(node, ast.Call))

    def _is_assertion(self, call: ast.Call) -> bool:
        match call.func:
            case ast.Attribute(value=ast.Name(id="pytest"), attr=name):
                return name in {"raises", "warns", "fail"}
            case ast.Attribute(attr="wait_until"):  # a bench's: it fails if nothing comes of it
                return True
            case ast.Name(id=name):
                return name == "wait_until" or self._is_one(name) or any(self._is_given(one) for one in call.args)
        return False

    def _is_given(self, argument: ast.expr) -> bool:
        """Whether a function is given something that asserts, to run it: `in_loop(check)`."""
        return isinstance(argument, ast.Name) and self._is_one(argument.id)

    def _is_one(self, name: str) -> bool:
        return self.asserts(name) or (name in self._imported and self._elsewhere(*self._imported[name]))

    def _runs(self, source: ast.expr) -> bool:
        """Whether a loop over this is certain to run."""
        found = False
        match source:
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                found = any(not isinstance(item, ast.Starred) or self._runs(item.value) for item in items)
            case ast.Dict(keys=keys, values=values):
                found = any(key is not None or self._runs(value) for key, value in zip(keys, values, strict=True))
            case ast.Constant(value=str() | bytes() as value):
                found = bool(value)
            case ast.Name(id=name):
                found = name in self._full
            case ast.Call(func=ast.Name(id="range"), args=bounds):
                found = _is_range_full(bounds)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in SAME_LENGTH:
                found = self._runs(first)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[_, *_] as sources) if name in ALL_OF:
                found = all(self._runs(one) for one in sources)
            case ast.Call(func=ast.Attribute(value=inner, attr="items" | "keys" | "values")):
                found = self._runs(inner)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                found = self._runs(left) or self._runs(right)
            case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
                found = all(self._runs(one.iter) and not one.ifs for one in generators)
        return found


def _is_range_full(bounds: list[ast.expr]) -> bool:
    numbers = [one.value for one in bounds if isinstance(one, ast.Constant) and isinstance(one.value, int)]
    return len(numbers) == len(bounds) > 0 and len(range(*numbers)) > 0
