"""Hold the sizes of modules, functions and Celery tasks; pyproject.toml has the numbers and the exceptions.

An exception that is no longer needed fails too, so that the list only ever gets shorter by itself.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TASK_DECORATORS = {"shared_task", "task"}


@dataclass(frozen=True)
class Size:
    """A module or function, and how long it is and may be."""

    name: str
    line: int
    lines: int
    limit: int


def main(root: Path = ROOT) -> int:
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["sizes"]
    said = complaints(list(sizes(root, settings)), settings.get("exceptions", {}))
    for complaint in said:
        print(complaint)
    return 1 if said else 0


def sizes(root: Path, settings: dict[str, Any]) -> Iterator[Size]:
    """Yield every module, function and task body below the folders."""
    for folder in settings["folders"]:
        for path in sorted((root / folder).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            text, name = path.read_text(), path.relative_to(root).as_posix()
            yield Size(name, 1, len(text.splitlines()), settings["module_lines"])
            yield from _functions(ast.parse(text), name, settings)


def complaints(found: list[Size], exceptions: dict[str, str]) -> list[str]:
    """Return a line for each thing that is too long, and for each exception that has no use or no reason."""
    too_long = [size for size in found if size.lines > size.limit]
    said = [
        f"{size.name} (line {size.line}) has {size.lines} lines; {size.limit} are allowed"
        for size in too_long
        if size.name not in exceptions
    ]
    needed = {size.name for size in too_long}
    for name, reason in exceptions.items():
        if name not in needed:
            said.append(f"{name} is an exception in pyproject.toml and needs none any more: remove it")
        elif not reason.strip():
            said.append(f"{name} is an exception in pyproject.toml without a reason: give one")
    return said


def _functions(node: ast.AST, prefix: str, settings: dict[str, Any]) -> Iterator[Size]:
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            joint = "." if "::" in prefix else "::"
            name = f"{prefix}{joint}{child.name}"
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            limit = settings["task_lines" if _is_task(child) else "function_lines"]
            yield Size(name, child.lineno, _length(child), limit)
        yield from _functions(child, name, settings)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from `def` on; of a task the body without its docstring."""
    first, last = function.lineno, function.end_lineno or function.lineno
    if not _is_task(function):
        return last - first + 1
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return last - body[0].lineno + 1 if body else 0


def _is_task(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr in TASK_DECORATORS:
            return True
        if isinstance(called, ast.Name) and called.id in TASK_DECORATORS:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
