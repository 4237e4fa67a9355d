"""The rules of the public interface, as tests."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
import textwrap

import pytest
import torch

import torchsample as ts

MODULES = (
    "torchsample",
    "torchsample.coord",
    "torchsample.encoding",
    "torchsample.interpolation",
    "torchsample.models",
    "torchsample.ray",
    "torchsample.render",
)
ROOT = pathlib.Path(__file__).parents[1]


def public():
    """Every public name that is no module, with its object."""
    for path in MODULES:
        module = importlib.import_module(path)
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.ismodule(thing):
                yield f"{path}.{name}", thing


NAMES = dict(public())
FUNCTIONS = {name: thing for name, thing in NAMES.items() if inspect.isfunction(thing)}
FORMS = FUNCTIONS | {f"{name}.nobatch": thing.nobatch for name, thing in FUNCTIONS.items() if hasattr(thing, "nobatch")}


def test_what_there_is():
    """The names that users rely on; a new one is added here on purpose."""
    assert set(NAMES) >= {
        *(f"torchsample.{name}" for name in ("sample", "sample2d", "sample3d", "feat_first", "feat_last", "tensor_to_size")),
        *(f"torchsample.coord.{name}" for name in ("rand", "rand_like", "randint", "randint_like", "full", "full_like", "inside")),
        *(f"torchsample.coord.{name}" for name in ("normalize", "unnormalize", "from_unit", "to_unit", "rand_biased", "uncertain")),
        *(f"torchsample.encoding.{name}" for name in ("gamma", "Gamma", "identity", "Identity", "nearest_pixel", "NearestPixel")),
        "torchsample.models.MLP",
    }
    with_nobatch = {name for name, thing in FUNCTIONS.items() if hasattr(thing, "nobatch")}
    assert with_nobatch >= {f"torchsample.{name}" for name in ("sample", "sample2d", "sample3d")}
    assert with_nobatch >= {f"torchsample.coord.{name}" for name in ("randint_like", "rand_like", "full", "full_like")}


@pytest.mark.parametrize("path", MODULES)
def test_all_is_sorted_and_complete(path):
    module = importlib.import_module(path)
    assert module.__all__ == sorted(module.__all__)
    own = {name for name, thing in vars(module).items() if not name.startswith("_") and not inspect.ismodule(thing)}
    assert own - {"annotations"} <= set(module.__all__)


def test_version():
    from importlib.metadata import version

    assert ts.__version__ == version("torchsample")


@pytest.mark.parametrize("name", FORMS)
def test_signatures(name):
    """No ``**kwargs``; coords first wherever they are an argument, or after a callable; every default where it can be read."""
    parameters = inspect.signature(FORMS[name]).parameters
    assert all(p.kind == p.POSITIONAL_OR_KEYWORD for p in parameters.values())
    for coords in {"coords", "coord"} & set(parameters):
        assert next(parameter for parameter in parameters if parameter != "fn") == coords
    for default in ts.default.__all__:
        if default in parameters:
            assert parameters[default].default == getattr(ts.default, default)
    for parameter in parameters.values():
        assert parameter.annotation is not parameter.empty


def test_nobatch_is_the_same_without_a_batch():
    for name, function in FUNCTIONS.items():
        if hasattr(function, "nobatch"):
            batched, single = (inspect.signature(f).parameters for f in (function, function.nobatch))
            expected = [p for p in batched if p not in {"batch", "batch_index", "return_batch_index"}]
            assert list(single) == expected, name
            assert all(single[p].default == batched[p].default for p in expected), name


def test_sample_has_its_documented_signature():
    expected = ["coords", "featmap", "mode", "padding_mode", "align_corners", "encoder", "feat_last", "batch_index"]
    parameters = inspect.signature(ts.sample).parameters
    assert list(parameters)[: len(expected)] == expected
    defaults = [parameters[name].default for name in expected[2:]]
    assert defaults == ["bilinear", "border", False, None, True, None]


@pytest.mark.parametrize(
    ("module", "function"), [("Gamma", "gamma"), ("Identity", "identity"), ("NearestPixel", "nearest_pixel"), ("Ope", "ope")]
)
def test_modules_store_the_arguments_of_their_functions(module, function):
    stored = list(inspect.signature(getattr(ts.encoding, module)).parameters.values())
    taken = list(inspect.signature(getattr(ts.encoding, function)).parameters.values())[1:]
    assert [(p.name, p.default) for p in stored] == [(p.name, p.default) for p in taken]


def sources():
    for path in pathlib.Path(ts.__file__).parent.rglob("*.py"):
        yield path, ast.parse(path.read_text())


def test_every_parameter_is_used():
    """Apart from those that implement an interface: methods, and the stubs of overloads."""
    for path, tree in sources():
        methods = {id(f) for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in ast.walk(c)}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and id(function) not in methods:
                if any(isinstance(d, ast.Name) and d.id == "overload" for d in function.decorator_list):
                    continue
                used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
                arguments = {a.arg for a in [*function.args.args, *function.args.kwonlyargs]}
                assert arguments <= used, f"{path.name}: {function.name} ignores {arguments - used}"


def test_documentation_is_complete():
    """Every public name has a numpydoc docstring with an example, and a place in the reference."""
    reference = (ROOT / "docs" / "api.md").read_text()
    for name, thing in NAMES.items():
        doc = inspect.getdoc(thing)
        assert doc, name
        if inspect.isfunction(thing) and not name.startswith(("torchsample.sample2d", "torchsample.sample3d")):
            returns = [] if inspect.signature(thing).return_annotation == "None" else ["Returns"]
            for section in ("Parameters", *returns, "Raises", "Examples"):
                assert f"{section}\n---" in doc, f"{name} has no section {section}"
            for parameter in inspect.signature(thing).parameters:
                assert f"\n{parameter} :" in doc, f"{name} does not document {parameter}"
        assert name.rsplit(".", 1)[1] in reference, f"{name} is not in docs/api.md"
    for name, thing in FORMS.items():
        assert inspect.getdoc(thing), name


def test_imports_go_one_way():
    """A room calls the rooms below it, never one above."""
    floors = [
        "_checks _eager _nobatch default",
        "layout",
        "coordinates",
        "interpolation",
        "sampling",
        "uncertainty cells regions chunks",
        "encoding ray",
        "models liif pointrend render",
        "coord",
    ]
    level = {room: floor for floor, rooms in enumerate(floors) for room in rooms.split()}
    package = pathlib.Path(ts.__file__).parent
    for path, tree in sources():
        place = path.relative_to(package).with_suffix("").parts
        if place == ("__init__",):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == len(place):
                rooms = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                assert all(level[room] <= level[place[0]] for room in rooms), f"{path}: {rooms}"


def test_importing_brings_nothing_heavy():
    """Beyond torch, only this package and small modules of Python itself."""
    code = textwrap.dedent("""
        import sys, torch
        before = set(sys.modules)
        import torchsample
        print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
    """)
    new = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert set(new) <= {"torchsample", *sys.stdlib_module_names}
    assert len(new) < 8


def test_is_typed():
    assert (pathlib.Path(ts.__file__).parent / "py.typed").exists()


def test_house_is_small():
    """Files of at most 400 lines, functions that fit a screen."""
    lengths = []
    for path, tree in sources():
        assert len(path.read_text().splitlines()) <= 400, path
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                body = function.body[1:] if ast.get_docstring(function) else function.body
                lengths.append(body[-1].end_lineno - body[0].lineno + 1 if body else 0)
                assert lengths[-1] <= 40, f"{path}: {function.name} has {lengths[-1]} lines"
    assert torch.tensor(lengths).median() <= 9
