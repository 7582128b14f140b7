"""docs/architecture.md says who may import whom: the code is held to its table, and the table to the code."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from tests.repository import PROJECT, files, text_of

PAGE = text_of("docs/architecture.md")
ROW = re.compile(r"^\| (`[^|]*`) \| [^|]* \| ([^|]*)\|$", re.MULTILINE)
SOURCES = {file: ast.parse(text_of(file)) for file in files(".py")}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall("`([^`]+)`", text)


RULES = {path: code(allowed) for paths, allowed in ROW.findall(section("The floors")) for path in code(paths)}
ROOMS = {path.removesuffix("/").removesuffix(".py"): path for path in RULES if "/" not in path[:-1]}


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports, wherever it does. A relative import stays in its room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(tree: ast.Module) -> set[str]:
    tops = {module.partition(".")[0] for module in imports(tree)}
    return {ROOMS[top] for top in tops if top in ROOMS}


def rows_of(file: str) -> list[str]:
    return [path for path in RULES if file == path or (path.endswith("/") and file.startswith(path))]


def forbidden(file: str, tree: ast.Module) -> set[str]:
    rows = rows_of(file)
    own = {path for path in rows if path in ROOMS.values()}
    return rooms_of(tree) - own - {room for path in rows for room in RULES[path]}


def test_the_table_knows_every_file_and_points_only_downward() -> None:
    assert [file for file in SOURCES if not rows_of(file)] == []
    assert [path for path in RULES if path != "temporalio" and not (PROJECT / path).exists()] == []
    order = list(RULES)
    upward = [
        (path, room)
        for path, allowed in RULES.items()
        for room in allowed
        if order.index(room) <= order.index(path)
    ]
    assert upward == []


def test_each_file_imports_only_from_the_rooms_that_its_rows_name() -> None:
    found = {file: forbidden(file, tree) for file, tree in SOURCES.items()}
    assert {file: rooms for file, rooms in found.items() if rooms} == {}


def test_each_row_names_only_rooms_that_are_imported() -> None:
    for path, allowed in RULES.items():
        used = {room for file, tree in SOURCES.items() if path in rows_of(file) for room in rooms_of(tree)}
        assert set(allowed) - used == set(), path


@pytest.mark.parametrize(
    ("file", "source", "rooms"),
    [
        ("messages/new.py", "import desk.app", {"desk/"}),
        ("runtime/new.py", "from worker import main", {"worker.py"}),
        ("optimizer/new.py", "def f():\n    import temporalio.client", {"temporalio"}),
        ("workflows/new.py", "if TYPE_CHECKING:\n    from activities import goals", {"activities/"}),
        ("desk/new.py", "import activities.disk", {"activities/"}),
        ("desk/snapshots.py", "import activities.disk", set()),
        ("workflows/orders/new.py", "from . import terms\nimport workflows.ledger, messages.names", set()),
    ],
)
def test_an_import_is_seen_wherever_it_stands(file: str, source: str, rooms: set[str]) -> None:
    assert forbidden(file, ast.parse(source)) == rooms


def test_there_are_no_circles() -> None:
    names = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in SOURCES}
    imported = {name: {*imports(SOURCES[file])} & names.keys() - {name} for name, file in names.items()}
    TopologicalSorter(imported).prepare()


def test_what_calls_itself_pure_has_no_temporal() -> None:
    pure = [file for file, tree in SOURCES.items() if "no Temporal" in (ast.get_docstring(tree) or "")]
    assert {"workflows/ledger.py", "workflows/image_state.py"} <= {*pure}
    assert [file for file in pure if "temporalio" in rooms_of(SOURCES[file])] == []


def test_the_optimizer_runs_without_temporal() -> None:
    loaded = "import sys, optimizer.__main__; sys.exit('temporalio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=PROJECT, check=False).returncode == 0


def test_every_function_on_the_ways_is_where_the_page_says() -> None:
    for title in ("The way of a task", "The way of an approval", "The way of a verification"):
        named = code(section(title))
        assert len(named) > 20
        file = ""
        for word in named:
            if word in SOURCES:
                file = word
            elif word.endswith("()"):
                assert word[:-2] in functions(SOURCES[file]), (file, word)


def functions(tree: ast.Module) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = {
        f"{part.name}.{method.name}"
        for part in tree.body
        if isinstance(part, ast.ClassDef)
        for method in part.body
        if isinstance(method, kinds)
    }
    return methods | {part.name for part in tree.body if isinstance(part, kinds)}
