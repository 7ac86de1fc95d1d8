"""Handlers that take every exception: `except Exception`, `except BaseException`, and an `except` without a class."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Final

from tests.rules.source import functions

BROAD: Final = frozenset({"Exception", "BaseException"})


def broad_handlers(tree: ast.Module) -> Counter[str]:
    """Return how many broad handlers stand in each function or method, by its name; in the module itself under ""."""
    inside = Counter({name: _count(node) for name, node in functions(tree)})
    inside[""] = _count(tree) - inside.total()
    return +inside


def _count(part: ast.AST) -> int:
    return sum(isinstance(node, ast.ExceptHandler) and _is_broad(node.type) for node in ast.walk(part))


def _is_broad(kind: ast.expr | None) -> bool:
    match kind:
        case None:
            return True
        case ast.Tuple(elts=kinds):
            return any(_is_broad(one) for one in kinds)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in BROAD
    return False
