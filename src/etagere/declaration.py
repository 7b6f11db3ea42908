"""What can be published: checks of functions and command lines, each fault with what to do about it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from etagere.errors import DeclarationError

# An item may well have braces of its own, such as awk's; only a name in braces is a parameter.
PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}")


def check_function(function: Callable[..., Any]) -> None:
    """Make sure that another process can find the function by its name in a module.

    Raises:
        DeclarationError: it is not a module-level function of a file, or it is asynchronous.
    """
    if not inspect.isfunction(function):
        raise DeclarationError(f"{function!r} is not a plain function; write a function around it")
    name = function.__qualname__
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(f"{name} is asynchronous, and a run has a process of its own; write `def`")
    if "<lambda>" in name:
        raise DeclarationError("a lambda has no name under which a run could find it; write `def`")
    if "." in name:
        raise DeclarationError(f"{name} is not at the level of its module, where a run could find it; move it there")
    if "__file__" not in function.__globals__ or function.__code__.co_filename.startswith("<"):
        raise DeclarationError(f"{name} is not in a file (a notebook or a prompt?); put it in a module")


def check_command_line(name: str, argv: Sequence[str], parameters: Sequence[str]) -> None:
    """Make sure that a command line is a list of texts whose placeholders are parameters.

    Raises:
        DeclarationError: it is not, or the executable itself is not literal.
    """
    if isinstance(argv, str) or not argv or not all(isinstance(item, str) for item in argv):
        raise DeclarationError(f"{name}: argv is a list of texts, the executable first; there is no shell")
    if not argv[0] or PLACEHOLDER.search(argv[0]):
        raise DeclarationError(f"{name}: the executable, argv[0], is literal; no parameter can choose it")
    unknown = {found for item in argv for found in PLACEHOLDER.findall(item)} - set(parameters)
    if unknown:
        raise DeclarationError(f"{name}: argv has {{{'}, {'.join(sorted(unknown))}}}, which are no parameters")
