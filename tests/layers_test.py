"""The packages' layers: their imports, their output, and the lengths of their files."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FILES = sorted(
    path.relative_to(REPOSITORY)
    for folder in ("da_jax", "configs", "convert")
    for path in (REPOSITORY / folder).rglob("*.py")
)

LEAVES = {"errors", "declarations", "imports"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "declarations": set(),
    "imports": {"errors"},
    "losses": set(),
    "ascent": {"losses"},
    "library": {"losses", "ascent"},
    "models": {"errors"},
    "data": {"errors"},
    "methods": {"errors", "declarations", "losses", "models", "data"},
    "augmentations": {"errors", "declarations", "ascent", "data"},
    "convert": {"errors", "models"},
    "storage": {"errors", "imports", "models", "convert"},
    "training": {
        *("errors", "declarations", "losses", "library"),
        *("models", "data", "methods", "augmentations", "storage"),
    },
    "config": {
        *("errors", "declarations", "imports"),
        *("models", "data", "methods", "augmentations", "storage", "training"),
    },
    "analysis": {
        *("errors", "library", "ascent", "models", "data", "methods"),
        *("augmentations", "storage", "training", "config"),
    },
    "search": {"errors", "storage", "training", "config"},
    "commands": {
        *("errors", "library", "models", "data"),
        *("convert", "storage"),
        *("training", "config", "analysis", "search"),
    },
    "configs": {"errors", "methods", "augmentations", "config"},
    "entry points": {"commands"},
}
"""What each package may import, lowest first, so that there are no cycles.

`library` is `da_jax/__init__.py`, the public names; `entry points` are `da_jax/main.py`
and the like.
"""

BATCH = "da_jax.data.batch"
"""All of `data` that methods and augmentations may import."""

OUTPUT = {"print", "input", "exit", "sys.exit", "sys.stdout.write", "sys.stderr.write"}
"""What only commands and entry points call."""

COMMAND_LINE = {"argparse", "tqdm"}
"""What only they import; absl only `FLAGS` too."""

PRINTING = {"commands", "entry points"}
FLAGS = Path("da_jax/config/command_line.py")

LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 350, 50
"""At most; a function's docstring isn't counted."""


REPOSITORY_FOLDERS = {"da_jax", "configs", "convert", "tests", "benchmarks"}


def tree(path):
    return ast.parse((REPOSITORY / path).read_text())


def module_name(path):
    """The module that a file is installed as: all are below `da_jax`."""
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return name if name.startswith("da_jax") else f"da_jax.{name}"


MODULES = {module_name(path): path for path in FILES}


def package_of(module):
    """The key of `ALLOWED` that a module of ours belongs to."""
    _, *rest = module.split(".")
    if not rest:
        return "library"
    if MODULES[module].parent == Path("da_jax"):
        return rest[0] if rest[0] in LEAVES else "entry points"
    return "entry points" if rest[-1] == "__main__" else rest[0]


def imported(path):
    """The modules of ours that a file imports anywhere, functions included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in whole]
        else:
            continue
        for name in names:
            if name.split(".")[0] in REPOSITORY_FOLDERS:
                yield name, f"{path}:{node.lineno}: {name}"


def test_a_package_only_imports_from_packages_below_it():
    order = list(ALLOWED)
    for package, allowed in ALLOWED.items():
        assert all(order.index(name) < order.index(package) for name in allowed)


def test_every_file_is_in_a_package_of_the_table():
    assert {package_of(module) for module in MODULES} == ALLOWED.keys()


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_are_those_of_the_table(package):
    used = set()
    for module, path in MODULES.items():
        if package_of(module) != package:
            continue
        for name, where in imported(path):
            assert name in MODULES, f"{where} is no module of ours"
            other = package_of(name)
            assert other in ALLOWED[package] | {package}, where
            used.add(other)
    assert used - {package} == ALLOWED[package]  # the table allows no more than is used


@pytest.mark.parametrize("package", ["methods", "augmentations"])
def test_of_the_data_they_import_the_batch_alone(package):
    for module, path in MODULES.items():
        if package_of(module) == package:
            for name, where in imported(path):
                assert package_of(name) != "data" or name == BATCH, where


def called_and_imported(path):
    """The names that a file calls, dotted, and the modules that it imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node.lineno
            yield from ((f"{node.module}.{a.name}", node.lineno) for a in node.names)


@pytest.mark.parametrize("package", [name for name in ALLOWED if name not in PRINTING])
def test_below_the_commands_nothing_prints_parses_arguments_or_exits(package):
    for module, path in MODULES.items():
        if package_of(module) != package:
            continue
        for name, line in called_and_imported(path):
            where = f"{path}:{line}: {name}"
            root = name.split(".")[0]
            assert name not in OUTPUT and root not in COMMAND_LINE, where
            assert root != "absl" or path == FLAGS, where


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_has_over_350_lines_and_no_function_over_50(path):
    assert len((REPOSITORY / path).read_text().splitlines()) <= LINES_OF_A_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= node.body[0].end_lineno - node.body[0].lineno + 1
            where = f"{path}:{node.lineno}: {node.name}"
            assert length <= LINES_OF_A_FUNCTION, f"{where} has {length} lines"
