"""The house rules of ARCHITECTURE.md that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# package -> the packages of ours that it may import
ALLOWED = {
    "foundation": {"foundation"},
    "pretrain": {"foundation", "pretrain"},
    "finetune": {"foundation", "finetune"},
    "distill_to_fpga": {"foundation", "pretrain", "finetune", "distill_to_fpga"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for package in ALLOWED for p in sorted((ROOT / package).rglob("*.py"))}


def imports(tree: ast.AST, name: str) -> set[str]:
    """Modules named by import statements; `from a import b` counts as a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import at line {node.lineno}"
            base = node.module or ""
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names}
    return found


def top_level(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported: no function bodies, nothing under `if TYPE_CHECKING`."""
    deferred = (ast.FunctionDef, ast.AsyncFunctionDef)
    kept = [n for n in tree.body if not isinstance(n, deferred) and not _only_for_type_checkers(n)]
    return ast.Module(body=kept, type_ignores=[])


def _only_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_package_may(name: str) -> None:
    used = {i.partition(".")[0] for i in imports(ast.parse(MODULES[name].read_text()), name)} & ALLOWED.keys()
    assert used <= ALLOWED[name.partition(".")[0]]


def test_the_import_rule_is_not_vacuous() -> None:
    assert "pretrain" in imports(ast.parse("def f():\n    import pretrain"), "x")
    assert len(MODULES) > 20


def test_no_import_cycles() -> None:
    graph = {name: imports(top_level(ast.parse(p.read_text())), name) & MODULES.keys() for name, p in MODULES.items()}
    assert find_cycle(graph) is None
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for target in sorted(graph[node]):
            cycle = visit(target, [*path, node])
            if cycle:
                return cycle
        done.add(node)
        return None

    return next((cycle for cycle in (visit(node, []) for node in graph) if cycle), None)


def test_no_pickle_eval_or_exec() -> None:
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        assert not imports(tree, name) & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}, name
        called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert not called & {"eval", "exec"}, name


def test_help_is_immediate_and_the_cli_loads_no_jax() -> None:
    code = "import sys, foundation.cli; print({'jax', 'grain', 'uproot', 'awkward'} & sys.modules.keys())"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert loaded.strip() == "set()"
    best = min(_seconds([sys.executable, "-m", "foundation.cli", "--help"]) for _ in range(5))
    assert best < 0.5, f"detfm --help takes {best:.2f} s"


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def test_no_module_is_called_utils() -> None:
    assert not [name for name in MODULES if name.rpartition(".")[2] in ("utils", "util", "helpers", "misc")]
