"""Whatever a call is given, it ends soon: with a result that means something, or with an error that says what was wrong."""

import importlib
import inspect

import pytest

import hostile
import torchsample as ts
from hostile_calls import CALLS, CONTAINERS, target

ROOMS = ("", ".coord", ".encoding", ".interpolation", ".models", ".ray", ".render")


def public():
    """Every public function, form without a batch, and class that checks arguments, as it is called."""
    for room in ROOMS:
        module = importlib.import_module("torchsample" + room)
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and name not in CONTAINERS:
                yield f"ts{room}.{name}"
                if hasattr(thing, "nobatch"):
                    yield f"ts{room}.{name}.nobatch"


def test_every_public_name_is_called():
    """A new function gets a line in `hostile_calls.CALLS`."""
    called = set(CALLS)
    without_arguments = {name for name in public() if not inspect.signature(target(name)).parameters}
    assert not set(public()) - called - without_arguments
    for name in called:
        assert callable(target(name)), name


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_are_valid(name):
    """Before anything is spoilt."""
    for call in CALLS[name]:
        arguments = call()
        for argument, value in arguments.items():
            if argument != "*" and value is not None:
                assert hostile.SENSE[hostile.kind_of(name, argument)](value), f"{argument} is not what the generator takes it for"
        target(name)(*arguments.pop("*", []), **arguments)


def check(endings, seed):
    """The limits, with a table of what is beyond them."""
    table = hostile.report(endings, seed)
    kinds = {ending.kind for ending in endings}
    assert not kinds & {"hang", "death", "memory"}, table
    bad = [what for what, _ in hostile.offences(endings)]
    # Of a few calls, a single one is more than a share that is allowed.
    assert hostile.share(endings) <= 0.01 or bad.count("bare") <= 1, table
    assert bad.count("SENSELESS") <= max(0.002 * len(endings), 1), table
    assert bad.count("WORDY") == 0, table
    return table


def test_hostile_calls():
    """A few, of every function."""
    check(hostile.survey(len(CALLS) * 3, seed=1), 1)


@pytest.mark.slow
def test_ten_thousand_hostile_calls():
    endings = hostile.survey(10_000, seed=0)
    table = check(endings, 0)
    for name in CALLS:
        own = [ending for ending in endings if ending.name == name]
        # Some eighty calls of each: one or two say little.
        assert hostile.share(own) <= 0.05 or len(list(hostile.offences(own))) <= 2, f"{name}\n{table}"


def test_the_generator_sees_what_is_wrong(monkeypatch):
    """An error that names nothing, an answer to nonsense, and a message that prints a tensor."""

    def careless(tensor):
        if not hasattr(tensor, "ndim"):
            return tensor
        if tensor.ndim == 4:
            raise ValueError(f"ts.feat_first: `tensor` must be else, got {tensor!r}.")
        raise RuntimeError("no")

    monkeypatch.setattr(ts, "feat_first", careless)
    endings = [hostile.run(0, index, ["ts.feat_first"]) for index in range(40)]
    assert {what for what, _ in hostile.offences(endings)} == {"bare", "SENSELESS", "WORDY"}
    assert 0 < hostile.share(endings) < 1
    assert "ts.feat_first" in hostile.report(endings, 0)
