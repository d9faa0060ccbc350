"""What `make messages` collects from a Python file: what `_(…)` and phrases hold, and what pages show of docstrings and types.

Those are what pages do (for the audit log), what commands are for, what refusals say, what fields of steps mean, and what
fields of leads are called.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from babel.messages.extract import extract_python

_KEYWORDS: Mapping[str, Any] = {"_": None, "ngettext": (1, 2), "phrase": None, "joined": None, "form": None}


def collect(
    file: BinaryIO, _keywords: object, _comment_tags: object, options: dict[str, str]
) -> Iterator[tuple[int, str | None, Any, list[str]]]:
    """As Babel calls it. The option `descriptions` says that what a module's types say of their fields is shown."""
    found: Iterator[Any] = extract_python(file, _KEYWORDS, (), {})
    for line, function, texts, comments in found:
        if function in {"phrase", "joined", "form"}:
            yield line, None, texts[0] if isinstance(texts, tuple) else texts, []
        else:
            yield line, function, texts, comments
    file.seek(0)
    for line, text in _shown(ast.parse(file.read()), descriptions=bool(options.get("descriptions"))):
        yield line, None, text, []


def _shown(tree: ast.Module, *, descriptions: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() if _is_acting(node):
                yield node.lineno, _first_line(node).rstrip(".")
            case ast.FunctionDef() if any(_is_of_api(each) for each in node.decorator_list):
                yield node.lineno, _first_line(node)
            case ast.ClassDef() if any(_name(base) == "DomainError" for base in node.bases):
                yield node.lineno, _first_line(node)
            case ast.Assign(targets=[ast.Name(id="PROFILE_FIELDS")], value=ast.Tuple(elts=names)):
                yield from ((node.lineno, str(ast.literal_eval(name)).replace("_", " ")) for name in names)
            case ast.Call(args=[_, _, ast.Constant(value=text)]) if _name(node) == "MergeName":
                yield node.lineno, str(text)
            case ast.Call(args=[ast.Constant(value=text)]) if descriptions and _name(node) == "_says":
                yield node.lineno, str(text)
            case ast.Call(keywords=keywords) if descriptions and _name(node) == "Meta":
                for each in keywords:
                    if each.arg == "description" and isinstance(each.value, ast.Constant):
                        yield node.lineno, str(each.value.value)


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _is_acting(node: ast.FunctionDef) -> bool:
    """Whether it is a page that the audit log speaks of."""
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and _name(each) == "page":
            is_set = {
                word.arg for word in each.keywords if isinstance(word.value, ast.Constant) and word.value.value is True
            }
            return "post" in is_set and not is_set & {"quiet", "open"}
    return False


def _is_of_api(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "command"


def _name(node: ast.AST) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
