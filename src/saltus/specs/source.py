"""The code of a class and of all that it needs from its file, so that a run can keep what it trained."""

import ast
import builtins
import hashlib
import linecache
import sys
from types import FunctionType, ModuleType
from typing import Any

from saltus.errors import SaltusError


def extract_source(defined: type) -> str:
    """Python code that defines a class: its own, and the imports, functions, classes and constants that it names.

    Comments and layout are not part of it, nor is what the class does not need, so that a change there makes no new
    run. What is imported from packages is named and not copied.

    Raises:
        SaltusError: if the class is not at the top level of a file that can be read.

    """
    name = defined.__name__
    functions = [value for value in vars(defined).values() if isinstance(value, FunctionType)]
    if not functions or "<locals>" in defined.__qualname__:
        raise SaltusError(f"{name} is no class with methods of its own at the top level of a file; define it there")
    path = functions[0].__code__.co_filename
    linecache.checkcache(path)  # it may have been changed since it was last read
    statements = ast.parse("".join(linecache.getlines(path))).body
    if not any(name in _list_bound(statement) for statement in statements):
        raise SaltusError(f"{name}: its code cannot be read from {path}; define it at the top level of a file")
    needed: set[int] = set()
    wanted = [name]
    sought: set[str] = set()
    while wanted:
        sought.add(looked_for := wanted.pop())
        for place, statement in enumerate(statements):
            if looked_for in _list_bound(statement) and place not in needed:
                needed.add(place)
                wanted += _list_used(statement) - sought
    own = {bound for place in needed for bound in _list_bound_within(statements[place])}
    if elsewhere := sorted((sought - own) & functions[0].__globals__.keys()):
        raise SaltusError(
            f"{name} uses {elsewhere[0]}, which another cell of the notebook defines or imports, and only its own cell "
            f"is kept with the run; define or import {elsewhere[0]} in the cell of {name}"
        )
    return "\n".join(ast.unparse(statement) for place, statement in enumerate(statements) if place in needed)


def check_source(name: str, source: str) -> None:
    """Raise a ValueError unless `source` is Python code that defines the class `name`; nothing is executed."""
    try:
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"source is no Python code ({error})") from None
    if name not in defined:
        raise ValueError(f"name is {name!r}; source defines {', '.join(sorted(defined)) or 'no class'}")


def define_class(name: str, source: str) -> Any:
    """Execute code as a module of its own, once in a process, and look the class up in it.

    Only ever code of a study file of the user's own, never code that was read from a folder.
    """
    module_name = f"saltus_custom_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if module_name not in sys.modules:
        module, filename = ModuleType(module_name), f"<code of {name}>"
        # so that a traceback shows its lines
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec"), vars(module))
        sys.modules[module_name] = module  # the compiler of the training step looks there for what the code names
    return getattr(sys.modules[module_name], name)


def _list_bound(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top level gives a value to."""
    match statement:
        case ast.FunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Import() | ast.ImportFrom():
            return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
        case _:
            names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            return {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _list_bound_within(statement: ast.stmt) -> set[str]:
    """Names that a statement gives a value to, at the top level or anywhere in it; arguments of functions too."""
    inside = {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return _list_bound(statement) | inside | {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _list_used(statement: ast.stmt) -> set[str]:
    """Names that a statement reads anywhere in it, but for those of the language."""
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - set(dir(builtins))
