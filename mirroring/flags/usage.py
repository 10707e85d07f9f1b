"""Which flags the code asks for: one that is asked for and not defined, or defined and not asked for, is a fault."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from mirroring.flags import registry
from mirroring.flags.registry import DEFINITIONS, FlagName

CODE = Path(__file__).parents[1]
BARE = frozenset({"is_on", "change_flag", "set_flag"})
READERS = BARE | {"read", "definition", "named"}


def faults(
    code: Path = CODE, definitions: Path = DEFINITIONS, *, names: type[StrEnum] = FlagName
) -> list[str]:
    """Return what is wrong, a line each."""
    files = {path.stem for path in definitions.glob("*.yml")}
    members, used = {str(name) for name in names}, set(_used(code, names))
    return [
        *(
            f"FlagName has {name}, which no file defines: write {name}.yml"
            for name in sorted(members - files)
        ),
        *(f"{name}.yml is defined, and FlagName has no such flag" for name in sorted(files - members)),
        *(
            f"{name} is defined and no code asks for it: clean it up"
            for name in sorted((files & members) - used)
        ),
        *(f"the code asks for {name!r}, which no file defines" for name in sorted(used - files)),
    ]


def _used(code: Path, names: type[StrEnum]) -> Iterator[str]:
    for path in sorted(code.rglob("*.py")):
        if path.is_relative_to(Path(__file__).parent) or "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
            yield from _in_node(node, names)


def _in_node(node: ast.AST, names: type[StrEnum]) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="FlagName"), attr=name) if name.isupper():
            yield str(names[name]) if name in names.__members__ else name.lower()
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _called(node.func) in READERS:
            yield name
        case _:
            return


def asked_in(*files: Path) -> list[str]:
    """Return the flags that these files ask for, in the order of rollout."""
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(), filename=str(file))))
    asked = {name for node in nodes for name in _in_node(node, FlagName)}
    return [made.name for made in registry.definitions() if made.name in asked]


def _called(function: ast.expr) -> str:
    """Return the name of what is called, where that says it: `flags.is_on(...)`, `is_on(...)`."""
    match function:
        case ast.Name(id=name):
            return name if name in BARE else ""
        case ast.Attribute(value=ast.Name(id="readings" | "registry" | "changes" | "flags"), attr=name):
            return name
        case _:
            return ""


def requirements() -> list[str]:
    """Return circles in what flags require, a line each."""
    required = {made.name: made.requires.flag for made in registry.definitions() if made.requires}
    return [f"{name} requires itself in the end" for name in required if _comes_back(name, required)]


def _comes_back(name: str, required: dict[str, str]) -> bool:
    at, seen = required.get(name), set[str]()
    while at is not None and at not in seen:
        if at == name:
            return True
        seen.add(at)
        at = required.get(at)
    return False
