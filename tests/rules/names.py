"""What a module names of other modules: `os.fsync`, however it was imported and whether it is called or passed on.

Looks at one file at a time. It does not see a name that is made at run time (`getattr(os, "fsync")`) or that comes by
way of a variable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

MOVES: Final = frozenset({"replace", "rename", "hardlink_to", "link_to"})
"""Methods of a path that give a file a name. They take one path; `str.replace` and the others of that name do not."""


def named(tree: ast.Module) -> Iterator[str]:
    """Yield the full name of everything that is imported or looked up in an import, as in `os.path.join`."""
    imported = dict(_imports(tree))
    yield from imported.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (root := _root(node)) in imported:
            yield f"{imported[root]}.{ast.unparse(node).partition('.')[2]}"


def path_moves(tree: ast.Module) -> Iterator[str]:
    """Yield the methods that are called like one that renames or links a path, as in `temporary.replace`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) as method, args=[_], keywords=[]) if name in MOVES:
                yield ast.unparse(method)


def methods(tree: ast.Module) -> Iterator[str]:
    """Yield the last name of every attribute: `load_cert_chain` of `context.load_cert_chain`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr


def _root(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with; empty if it begins with something else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the name in the module and the full name, of each import, inside of functions too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for each in names:
                    yield (
                        each.asname or each.name.partition(".")[0],
                        each.name if each.asname else each.name.partition(".")[0],
                    )
            case ast.ImportFrom(module=str(module), names=names):
                for each in names:
                    yield each.asname or each.name, f"{module}.{each.name}"
