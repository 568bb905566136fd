"""The code of a class and of all that it needs from its file, so that a run can keep what it trained."""

import ast
import builtins
import hashlib
import linecache
import sys
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from symtable import SymbolTable, symtable
from traceback import extract_tb
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from saltus.errors import SaltusError

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_CODE = "<code of "
"""Beginning of the file names under which own code is compiled."""


def extract_source(defined: type) -> str:
    """Python code that defines a class: its own, and the imports, functions, classes and constants that it names.

    What the file does at its top level to a name that is needed, such as `TABLE.append(3)`, belongs to it. Comments and
    layout do not, nor does what the class does not need, so that a change there makes no new run. What is imported from
    packages is named and not copied. The code is executed once, to see that it gives the values of the file.

    Raises:
        SaltusError: if the class is not at the top level of a file that can be read, or needs another file beside it,
            or the file changes in another way what the class needs.

    """
    name = defined.__name__
    functions = [value for value in vars(defined).values() if isinstance(value, FunctionType)]
    if not functions or "<locals>" in defined.__qualname__:
        raise SaltusError(f"{name} is no class with methods of its own at the top level of a file; define it there")
    path = functions[0].__code__.co_filename
    linecache.checkcache(path)  # it may have been changed since it was last read
    statements = ast.parse("".join(linecache.getlines(path))).body
    scopes = [_list_scopes(statement) for statement in statements]
    bound = [_list_bound(each[:1]) for each in scopes]
    if not any(name in names for names in bound):
        raise SaltusError(f"{name}: its code cannot be read from {path}; define it at the top level of a file")
    called = {each.name: each for each in statements if isinstance(each, ast.FunctionDef)}
    decided = [names | _list_changed(each, name, called) for names, each in zip(bound, statements, strict=True)]
    there = functions[0].__globals__.keys()
    language = {each for each in dir(builtins) if each.startswith("__") or each not in there}.difference(*bound)
    needed = {
        place
        for place, each in enumerate(statements)
        if isinstance(each, ast.ImportFrom) and each.module == "__future__"
    }
    wanted = [name]
    sought: set[str] = set()
    while wanted:
        sought.add(looked_for := wanted.pop())
        for place, names in enumerate(decided):
            if looked_for in names and place not in needed:
                needed.add(place)
                wanted += _list_used(scopes[place]) - language - sought
    own = {bound for place in needed for bound in _list_bound(scopes[place])}
    elsewhere = sorted((sought - own) & there)
    if "__file__" in elsewhere:
        raise SaltusError(
            f"{name} uses __file__, and the run keeps its code and not its file; write into the code what it reads "
            "beside it, or give the path as an option"
        )
    if elsewhere:
        raise SaltusError(
            f"{name} uses {elsewhere[0]}, which another cell of the notebook defines or imports, and only its own cell "
            f"is kept with the run; define or import {elsewhere[0]} in the cell of {name}"
        )
    if beside := _find_neighbour([statements[place] for place in sorted(needed)], Path(path)):
        raise SaltusError(
            f"{name} imports {beside}, a file beside {path}, and only the code of one file is kept with the run; move "
            f"what {name} needs from there into its own file"
        )
    source = "\n".join(ast.unparse(statement) for place, statement in enumerate(statements) if place in needed)
    definitions = [place for place in needed if isinstance(statements[place], _DEFINITIONS)]
    read = {name}.union(*(_list_used(scopes[place]) for place in definitions))
    remembered: set[str] = set()
    for place in definitions:
        remembered |= _list_bound(scopes[place][1:]).union(*_list_written(statements[place], name))
    if lost := _find_lost(name, source, functions[0].__globals__, sorted(read & own), remembered):
        raise SaltusError(
            f"{name} uses {lost}, and the code that is kept with the run gives it another value than {path} has; "
            "build it in one function or inside the class, or give it as an option"
        )
    return source


def unwrap_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of own code with numbers of NumPy as those of Python: an integer stays one."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}


def check_source(name: str, source: str) -> None:
    """Raise a ValueError unless `source` is Python code that defines the class `name`; nothing is executed."""
    try:
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"source is no Python code ({str(error) or 'it is nested too deeply'})") from None
    if name not in defined:
        raise ValueError(f"name is {name!r}; source defines {', '.join(sorted(defined)) or 'no class'}")


def define_class(name: str, source: str) -> Any:
    """Execute code as a module of its own, once in a process, and look the class up in it.

    Only ever code of a study file of the user's own, never code that was read from a folder.
    """
    return getattr(_execute(name, source), name)


def describe_failure(error: BaseException) -> str:
    """What own code raised, in a line: the error, and the last line of the code that it came through."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    lines = [frame.line for frame in extract_tb(error.__traceback__) if frame.filename.startswith(_CODE)]
    return f"{text}, at `{lines[-1]}`" if lines and lines[-1] else text


def _execute(name: str, source: str) -> ModuleType:
    module_name = f"saltus_custom_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if module_name not in sys.modules:
        module, filename = ModuleType(module_name), f"{_CODE}{name}>"
        # so that a traceback shows its lines
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        sys.modules[module_name] = module  # where dataclasses and the compiler of the training step look names up
        try:
            exec(compile(source, filename, "exec"), vars(module))
        except BaseException:
            del sys.modules[module_name]
            raise
    return sys.modules[module_name]


def _find_lost(
    name: str, source: str, file: Mapping[str, Any], names: Iterable[str], remembered: Collection[str]
) -> str | None:
    """Which of `names`, or of the attributes of a class among them, is other plain data in the file than in `source`.

    What is `remembered`, which the code changes itself when it is used, may differ.
    """
    try:
        kept = vars(_execute(name, source))
    except Exception as error:  # noqa: BLE001 - somebody's code may raise anything
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise SaltusError(
            f"{name}: its code, as it is kept with the run, raised {text}; define all that it needs at the top level "
            "of its file"
        ) from None
    for each in names:
        ours, theirs = file.get(each), kept.get(each)
        if each in remembered or each not in file or ours is theirs:
            continue
        if isinstance(ours, type) and isinstance(theirs, type):
            attributes = [key for key in vars(ours) if not key.startswith("__") and key not in remembered]
            pairs = {f"{each}.{key}": (vars(ours)[key], vars(theirs).get(key)) for key in attributes}
        else:
            pairs = {each: (ours, theirs)}
        for place, (one, other) in pairs.items():
            if (text := _write_out(one)) and (kept_text := _write_out(other)) and text != kept_text:
                return place
    return None


def _write_out(value: Any) -> str | None:
    """Plain data as text, whole and with its types; None of anything else."""
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            return repr(value)
        case dict():
            parts = [_write_out(each) for item in value.items() for each in item]
        case list() | tuple():
            parts = list(map(_write_out, value))
        case set() | frozenset():
            parts = sorted(map(_write_out, value), key=str)
        case np.ndarray() | np.generic() if not value.dtype.hasobject:
            return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        case _ if hasattr(value, "detach"):  # a tensor, without waiting for torch
            return f"{value.dtype} {value.tolist()}"
        case _:
            return None
    return None if None in parts else f"{type(value).__name__} {parts}"


class _Generators(ast.NodeTransformer):
    """Makes each comprehension a generator: only that is a scope of its own in every version of Python."""

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators))


def _list_scopes(statement: ast.stmt) -> list[SymbolTable]:
    """The scope of a statement at the top level, and then those of the functions and classes in it."""
    scopes = [symtable(ast.unparse(_Generators().visit(deepcopy(statement))), "", "exec")]
    for scope in scopes:
        scopes += scope.get_children()
    return scopes


def _list_bound(scopes: Iterable[SymbolTable]) -> set[str]:
    """Names of the file that code in these scopes gives a value to."""
    symbols = (symbol for scope in scopes for symbol in scope.get_symbols() if symbol.is_global())
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def _list_used(scopes: Iterable[SymbolTable]) -> set[str]:
    """Names of the file that code in these scopes reads, or changes as a global.

    What the body of a class gives a value to may be the file's before that, as in `rate = rate`.
    """
    return {
        symbol.get_name()
        for scope in scopes
        for symbol in scope.get_symbols()
        if symbol.is_referenced() or symbol.is_declared_global()
        if symbol.is_global() or (scope.get_type() == "class" and symbol.is_local())
    }


def _list_changed(statement: ast.stmt, name: str, functions: Mapping[str, ast.FunctionDef]) -> set[str]:
    """Names whose values a statement at the top level may change without binding them: in it, or in those of the file's
    `functions` that it calls.

    A call with the class `name` itself, as to describe or train it, is no change.
    """
    if isinstance(statement, _DEFINITIONS) or _is_main(statement):
        return set()
    changed = {root for root, *_ in _list_written(statement, name)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            called = functions[node.func.id]
            scopes = _list_scopes(called)
            written = {root for root, *_ in _list_written(called, name)}
            changed |= _list_bound(scopes[1:]) | (written & _list_used(scopes))
    return changed


def _list_written(code: ast.stmt, name: str) -> list[list[str]]:
    """Where code stores something in a value, or calls a method of it for no result, or a function with it: each a name
    and attributes, as `_list_path` says them.
    """
    written: set[ast.expr] = set()
    for node in ast.walk(code):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                written.add(node)
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
                pass
            case ast.Expr(value=ast.Call(func=function, args=args, keywords=keywords)):
                given = [*args, *(keyword.value for keyword in keywords)]
                written |= {each for each in given if not (isinstance(each, ast.Name) and each.id == name)}
                written |= {function} if isinstance(function, ast.Attribute) else set()
            case _:
                pass
    return [path for each in written if (path := _list_path(each))]


def _list_path(value: ast.expr) -> list[str]:
    """`TABLE` and `rows` of `TABLE.rows` and of `TABLE[0].rows`, `TABLE` of `TABLE`; nothing of anything else."""
    attributes: list[str] = []
    while isinstance(value, ast.Attribute | ast.Subscript):
        attributes += [value.attr] if isinstance(value, ast.Attribute) else []
        value = value.value
    return [value.id, *reversed(attributes)] if isinstance(value, ast.Name) else []


def _is_main(statement: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`, which nobody runs who imports the file."""
    return isinstance(statement, ast.If) and "__name__" in _list_used(_list_scopes(ast.Expr(statement.test)))


def _find_neighbour(statements: Iterable[ast.stmt], path: Path) -> str | None:
    """The name of a module beside the file at `path` that is imported, if there is one; not of the same package."""
    for node in (node for statement in statements for node in ast.walk(statement)):
        match node:
            case ast.ImportFrom(level=level, module=module) if level or module is None:
                return "." * level + (module or "")
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case _:
                continue
        for name in names:
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            top = "." not in name and not hasattr(module, "__path__")
            if top and file and Path(file).resolve().parent == path.resolve().parent:
                return name
    return None
