"""The code of a class and of all that it needs from its file, so that a run can keep what it trained."""

import ast
import builtins
import linecache
from types import FunctionType

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
    return "\n".join(ast.unparse(statement) for place, statement in enumerate(statements) if place in needed)


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


def _list_used(statement: ast.stmt) -> set[str]:
    """Names that a statement reads anywhere in it, but for those of the language."""
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - set(dir(builtins))
