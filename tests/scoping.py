"""Reads of what is not everybody's, found in the source, for `tests/test_scoping.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from models import tables

ROOT = Path(__file__).parent.parent
# Whatever belongs to one of these is scoped until somebody says that it is not.
_OWNERS = {"place", "partner", "need", "offering", "posted_by"}
SCOPED = {
    table._meta.tablename: table.__name__
    for table in tables.TABLES
    if _OWNERS & {column._meta.name for column in table._meta.columns}
}
# `{…}` of an f-string that is no constant of its module: a table named at run time.
_UNKNOWN = "any_table"
_READ = re.compile(r"(?<!DELETE )\b(?:FROM|JOIN)\s+(\w+)")
_READING = {"select", "objects", "count", "exists", "raw"}


class Function(Struct):
    """A function or method, and what it has to do with scoped rows."""

    name: str
    node: ast.AST
    module: Module

    @property
    def reads(self) -> set[str]:
        """The scoped tables that its own text reads."""
        found = {table for text in self._texts() for table in _READ.findall(text)}
        asked = {
            ast.unparse(call.func.value).split(".")[-1]
            for call in self.calls
            if isinstance(call.func, ast.Attribute) and call.func.attr in _READING
        }
        found |= {name for name, table in SCOPED.items() if table in asked}
        return found & {*SCOPED, _UNKNOWN}

    @property
    def calls(self) -> list[ast.Call]:
        return [node for node in ast.walk(self.node) if isinstance(node, ast.Call)]

    @property
    def own_calls(self) -> list[ast.Call]:
        """Its calls without those of the functions inside of it."""
        inner = {
            id(node)
            for function in ast.walk(self.node)
            if function is not self.node
            and isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        return [call for call in self.calls if id(call) not in inner]

    @property
    def knows_sees(self) -> bool:
        """Whether its `sees` is handed to it, or worked out from the caller."""
        text = ast.unparse(self.node)
        return "sees" in self.parameters or "sees = accounts.visibility(request.user" in text

    @property
    def parameters(self) -> list[str]:
        arguments = self.node.args  # type: ignore[attr-defined]
        return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    @property
    def restricts(self) -> bool:
        """Whether it puts somebody's visibility into its query."""
        return any(ast.unparse(call.func).split(".")[-1] == "restrict" for call in self.calls)

    def _texts(self) -> Iterator[str]:
        inside = {id(part) for node in ast.walk(self.node) for part in _parts(node)}
        for node in ast.walk(self.node):
            if id(node) not in inside and not _is_docstring(node, self.node):
                yield self.module.text(node)


class Module(Struct):
    """One source file."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr]

    def text(self, node: ast.AST) -> str:
        """A text as far as it can be read: constants of the module are put in."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self.text, node.values))
        if isinstance(node, ast.FormattedValue):
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            return self.text(self.constants[name]) if name in self.constants else _UNKNOWN
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.text(self.constants[node.id])
        if isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set | ast.BinOp):
            return " ; ".join(map(self.text, ast.iter_child_nodes(node)))
        return ""

    @property
    def functions(self) -> list[Function]:
        """Every function and method."""
        return [
            Function(f"{self.name}.{node.name}", node, self)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]


def modules(*folders: str) -> list[Module]:
    """The source files of these folders, but for the migrations, which run before anybody asks."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.append(module(name.removesuffix(".__init__"), path.read_text()))
    return found


def module(name: str, source: str) -> Module:
    """A source file by its text."""
    tree = ast.parse(source)
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            constants |= {ast.unparse(target): node.value for target in targets}
    return Module(name, tree, constants)


def _parts(node: ast.AST) -> list[ast.expr]:
    return node.values if isinstance(node, ast.JoinedStr) else []


def _is_docstring(node: ast.AST, function: ast.AST) -> bool:
    first = function.body[0]  # type: ignore[attr-defined]
    return isinstance(first, ast.Expr) and first.value is node


def callee(call: ast.Call, module: Module) -> str:
    """The function that is called, by the last two parts of its name: `needs.read`."""
    if isinstance(call.func, ast.Name):
        return f"{module.name.split('.')[-1]}.{call.func.id}"
    return ".".join(ast.unparse(call.func).split(".")[-2:])
