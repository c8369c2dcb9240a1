"""Wrong changes of a source file, each small enough to be a mistake of a person."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

SWAPS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}
TWINS = {
    "amin": "amax",
    "argmin": "argmax",
    "min": "max",
    "minimum": "maximum",
    "any": "all",
    "floor": "ceil",
    "sum": "mean",
    "clamp_min": "clamp_max",
    "zeros": "ones",
    "zeros_like": "ones_like",
}
SYMMETRIC = ("transpose", "min", "max", "minimum", "maximum", "add", "bitwise_and")  # in their first two arguments
OTHER = TWINS | {b: a for a, b in TWINS.items()}


@dataclass(frozen=True)
class Mutant:
    path: str
    where: str  # the function or class around it
    line: int
    before: str
    after: str
    start: int  # offsets of `before` in the source
    end: int
    nth: int = 1  # of those that read alike, in the order of the file

    @property
    def key(self) -> str:
        """What it is known by in equivalent.txt: it survives that lines move."""
        one = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.path} {self.where}: {' -> '.join(one)}" + (f" ({self.nth})" if self.nth > 1 else "")

    def applied(self, source: str) -> str:
        return source[: self.start] + self.after + source[self.end :]


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    seen, alike = set(), Counter()
    for where, node, changed in _changes(ast.parse(source)):
        start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
        after = changed if isinstance(changed, str) else ast.unparse(changed)
        if after == ast.unparse(node):
            continue  # such as two equal arguments exchanged
        if isinstance(node, ast.expr) and not isinstance(changed, str) and not isinstance(node, ast.Constant):
            after = f"({after})"
        mutant = Mutant(path, where, node.lineno, source[start:end], after, start, end)
        if mutant not in seen:
            seen.add(mutant)
            alike[mutant.key] += 1
            yield replace(mutant, nth=alike[mutant.key])


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.AST, ast.AST | str]]:
    """(where, node, what takes its place)."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        stack += [(where, child) for child in reversed(list(_children(node)))]
        if not isinstance(node, ast.Module):
            yield from ((where, node, changed) for changed in _of(node))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node in which a change is a change of behaviour: no types, imports, sentences or invariants."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_comment", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom | ast.Assert | ast.Raise | ast.JoinedStr | ast.Global):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Assign | ast.AnnAssign) and _is_about_types(child):
                continue
            if isinstance(child, ast.Call) and ast.unparse(child.func) in ("cast", "print", "warnings.warn", "Field"):
                continue
            yield child


def _is_about_types(node: ast.Assign | ast.AnnAssign) -> bool:
    """`X = Annotated[...]`, `X = A | B`, `__all__ = ...`."""
    text = ast.unparse(node.value) if node.value else ""
    target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    kind = text.startswith(("Annotated[", "Literal[", "TypeVar("))
    return target == "__all__" or kind or (text[:1].isupper() and " | " in text)


def _of(node: ast.AST) -> Iterator[ast.AST | str]:
    match node:
        case ast.Compare(ops=[op]):
            for swap in SWAPS.get(type(op), []):
                yield ast.Compare(node.left, [swap()], node.comparators)
        case ast.BinOp(op=op) if type(op) in SWAPS and not _is_text(node):
            for swap in SWAPS[type(op)]:
                yield ast.BinOp(node.left, swap(), node.right)
        case ast.BoolOp(op=op):
            yield ast.BoolOp(SWAPS[type(op)][0](), node.values)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 2 if value else 1.0)
        case ast.Call():
            yield from _of_call(node)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return None"
        case ast.If() | ast.While():
            pass
        case ast.IfExp():
            yield ast.IfExp(node.test, node.orelse, node.body)
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    plain = not any(isinstance(argument, ast.Starred) for argument in node.args)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield ast.Call(node.func, node.args, [*node.keywords[:i], *node.keywords[i + 1 :]])
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if plain and len(node.args) > 1:
        if name not in SYMMETRIC:
            yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
        yield ast.Call(node.func, node.args[:-1], node.keywords)
    if name in OTHER:
        func = copy.copy(node.func)
        if isinstance(func, ast.Attribute):
            func.attr = OTHER[name]
        elif isinstance(func, ast.Name):
            func.id = OTHER[name]
        yield ast.Call(func, node.args, node.keywords)


def _is_text(node: ast.BinOp) -> bool:
    constants = [part.value for part in (node.left, node.right) if isinstance(part, ast.Constant)]
    return any(isinstance(value, str) for value in constants) or isinstance(node.left, ast.JoinedStr)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
