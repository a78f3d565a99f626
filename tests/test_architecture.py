"""The rules of the architecture, read from the checkout's files and tried in fresh interpreters."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("devices", "edge_runtime", "train", "calibration", "convert", "cli")
"""A folder may import from those to its left and from itself."""
PACKAGES = ("fer_edge", *ORDER)
THIRD_PARTY = {
    "fer_edge": set(),
    "devices": {"numpy", "cv2", "picamera2", "libcamera", "cryptography", "yaml"},
    "edge_runtime": {
        *("numpy", "cv2", "ai_edge_litert", "flatbuffers", "tflite_runtime", "onnxruntime", "openvino"),
        *("paho", "prometheus_client", "fastapi", "starlette", "uvicorn", "sdnotify", "rich", "matplotlib"),
    },
    "train": {"numpy", "cv2", "tensorflow", "keras", "sklearn", "scipy", "matplotlib", "joblib", "jax"},
    "calibration": {"numpy"},
    "convert": {
        *("numpy", "scipy", "tensorflow", "keras", "ai_edge_litert"),
        *("onnx", "onnxruntime", "tf2onnx", "openvino", "nncf", "matplotlib", "ray"),
    },
    "cli": {"typer", "rich"},
}
NOT_ON_THE_EDGE = ("tensorflow", "keras", "sklearn", "scipy", "onnx", "tf2onnx", "nncf")
OPTIONAL_ON_THE_EDGE = (
    *("onnxruntime", "openvino", "tflite_runtime", "picamera2", "libcamera", "cryptography", "yaml"),
    *("paho", "prometheus_client", "fastapi", "starlette", "uvicorn", "sdnotify", "matplotlib", "flatbuffers"),
)
MAX_LINES = 300


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def every_source() -> list[Path]:
    return [path for folder in PACKAGES for path in sources(folder)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(code: str, package: str) -> list[tuple[int, str]]:
    """Line and dotted name of all that `code`, a module of `package`, imports or names in a string."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"fer_edge(\.\w+)+", node.value)
        ):
            found.append((node.lineno, node.value))
    return found


def arrows_back(code: str, folder: str) -> list[str]:
    """Imports of folders to the right of `folder`."""
    forbidden = ORDER[ORDER.index(folder) + 1 :]
    return [
        f"line {line}: {name}"
        for line, name in imports_of(code, f"fer_edge.{folder}")
        if name.startswith("fer_edge.") and name.split(".")[1] in forbidden
    ]


def strangers(code: str, folder: str) -> list[str]:
    """Imports of libraries that this folder must not know; the bare name of a folder is one of them."""
    allowed = THIRD_PARTY[folder] | sys.stdlib_module_names | {"fer_edge"}
    return [
        f"line {line}: {name}"
        for line, name in imports_of(code, f"fer_edge.{folder}")
        if name.split(".")[0] not in allowed
    ]


@pytest.mark.parametrize("folder", ORDER)
def test_imports_run_one_way(folder: str) -> None:
    back = {name_of(p): found for p in sources(folder) if (found := arrows_back(p.read_text(), folder))}
    assert not back, f"a folder imports only from those to its left in {' → '.join(ORDER)}"


@pytest.mark.parametrize("folder", PACKAGES)
def test_libraries_stay_in_their_folders(folder: str) -> None:
    found = {name_of(p): odd for p in sources(folder) if (odd := strangers(p.read_text(), folder))}
    assert not found, f"{folder}/ may import {', '.join(sorted(THIRD_PARTY[folder])) or 'nothing'}"


@pytest.mark.parametrize(
    ("folder", "code", "back"),
    [
        ("devices", "from fer_edge.edge_runtime.engines import start", True),
        ("devices", "from fer_edge import cli", True),
        ("devices", "import fer_edge.train.fit as fit", True),
        ("devices", "from ..convert import tflite", True),
        ("train", "def f():\n    from fer_edge.calibration import choose", True),
        ("edge_runtime", "if TYPE_CHECKING:\n    from fer_edge.train.models import build_model", True),
        ("edge_runtime", "import_module('fer_edge.convert.tflite')", True),
        ("calibration", "from fer_edge.convert.bundle import write", True),
        ("convert", "from fer_edge.train.fit import fit", False),
        ("cli", "from fer_edge.devices.errors import FerEdgeError", False),
        ("edge_runtime", "from . import bundle\nfrom .engines import start", False),
        ("devices", "from fer_edge import __version__", False),
        ("devices", "from training import devices", False),
    ],
)
def test_the_checker_sees_an_arrow_that_runs_back(folder: str, code: str, back: bool) -> None:
    assert bool(arrows_back(code, folder)) is back


@pytest.mark.parametrize(
    ("folder", "code", "strange"),
    [
        ("edge_runtime", "import tensorflow.lite as tflite", True),
        ("devices", "def f():\n    from keras import layers", True),
        ("cli", "import numpy as np", True),
        ("train", "import devices", True),
        ("train", "import keras, json, numpy.typing", False),
        ("cli", "from fer_edge.train import fit", False),
    ],
)
def test_the_checker_sees_a_library_out_of_place(folder: str, code: str, strange: bool) -> None:
    assert bool(strangers(code, folder)) is strange


def test_folders_are_flat() -> None:
    assert not [name_of(p) for p in every_source() if len(p.relative_to(ROOT).parts) != 2]


def test_no_file_holds_two_ideas() -> None:
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in every_source()}
    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert not too_long, f"more than {MAX_LINES} lines: split by idea"


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


def python(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, *args, cwd=cwd)


WITHOUT_TRAINING = f"""
import sys
from importlib.machinery import PathFinder

class EdgeOnly(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {NOT_ON_THE_EDGE} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = EdgeOnly
"""


@pytest.mark.parametrize("library", NOT_ON_THE_EDGE)
def test_the_edge_interpreter_has_no_training_library(library: str) -> None:
    done = python("-c", f"{WITHOUT_TRAINING}\nimport {library}")
    assert f"ModuleNotFoundError: No module named '{library}'" in done.stderr


IMPORT_THE_EDGE = f"""{WITHOUT_TRAINING}
from importlib import import_module
from pkgutil import iter_modules

for folder in ("fer_edge.devices", "fer_edge.edge_runtime"):
    for module in iter_modules(import_module(folder).__path__, folder + "."):
        try:
            import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] not in {OPTIONAL_ON_THE_EDGE}:
                raise
        print(module.name)
"""


def test_the_edge_side_imports_without_training_libraries() -> None:
    done = python("-c", IMPORT_THE_EDGE)
    assert done.returncode == 0, done.stderr
    seen = {name.removeprefix("fer_edge.").replace(".", "/") + ".py" for name in done.stdout.split()}
    here = {name_of(p) for folder in ("devices", "edge_runtime") for p in sources(folder)}
    assert seen == {name for name in here if not name.endswith("__init__.py")}


@pytest.mark.parametrize("command", ["", "run", "bench", "doctor", "tune"])
def test_the_edge_commands_start_without_training_libraries(command: str) -> None:
    code = f"{WITHOUT_TRAINING}\nfrom fer_edge.cli.main import main\nmain()"
    done = python("-c", code, *command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


ALL_LIBRARIES = frozenset().union(*THIRD_PARTY.values())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("fer_edge", set()),
        ("fer_edge.edge_runtime", set()),
        ("fer_edge.devices.errors", set()),
        ("fer_edge.edge_runtime.vocabulary", {"numpy"}),
        ("fer_edge.train.recipes", {"numpy"}),
        ("fer_edge.cli.main", {"typer", "rich"}),
    ],
)
def test_importing_brings_nothing_heavy(module: str, allowed: set[str]) -> None:
    done = python("-c", f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    assert done.returncode == 0, done.stderr
    assert ALL_LIBRARIES & set(done.stdout.split()) <= allowed


def files_of_git() -> list[str]:
    """Paths, with /, of all files that git holds or would take."""
    try:
        done = run("git", "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard")
    except FileNotFoundError:
        pytest.skip("git is not installed, so nothing says which files belong to the package")
    if done.returncode:
        pytest.skip("this folder is no git checkout, so nothing says which files belong to the package")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_wheel_holds_what_git_holds(tmp_path: Path) -> None:
    names, checkout = files_of_git(), tmp_path / "checkout"
    for name in names:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, checkout / name)
    done = python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr

    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = [name for name in names if name.split("/")[0] in PACKAGES]
    assert held == {name if name.startswith("fer_edge/") else f"fer_edge/{name}" for name in own}
