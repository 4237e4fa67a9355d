"""Another default device, as `torch.set_default_device` sets it, changes nothing for tensors that are on a device already."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

import torchsample as ts
from hostile_calls import CALLS, target

OTHERWISE = ("ts.hoist", "ts.tiled", "ts.coord.full", "ts.coord.rand", "ts.coord.rand.nobatch", "ts.coord.randint")
"""Names of what gives a function, or has a device of its own: made on the default one, as documented."""
CASES = [
    (name, number) for name in CALLS if name not in OTHERWISE and not name.startswith("ts.models.") for number in range(len(CALLS[name]))
]


def arguments_of(name, number):
    torch.manual_seed(3)
    return CALLS[name][number]()


def call(name, arguments):
    torch.manual_seed(4)
    return target(name)(**arguments)


def numbers_of(result):
    """What a result is made of; of a module, its state."""
    return list(result.state_dict().values()) if isinstance(result, torch.nn.Module) else tree_leaves(result)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_tensors_stay_where_they_are(name, number):
    expected = numbers_of(call(name, arguments_of(name, number)))
    arguments, build = arguments_of(name, number), target(name)
    has_tensor = any(isinstance(value, Tensor) for value in arguments.values())
    torch.manual_seed(4)
    with torch.device("meta"):
        found = numbers_of(build(**arguments))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if not isinstance(one, Tensor):
            assert one == other
        elif has_tensor:
            assert one.device.type == "cpu"
            assert torch.equal(one, other)
        else:
            assert one.is_meta
            assert one.shape == other.shape


def test_a_grid_of_numbers_is_on_the_default_device():
    """As the buffers of any module are, so that `to_empty` and checkpoints work."""
    with torch.device("meta"):
        grid = ts.render.OccupancyGrid((-1, -1), (1, 1), 4)
    assert all(buffer.is_meta for buffer in grid.buffers())
    assert "low=?" in repr(grid)
    whole = ts.render.OccupancyGrid((-1, -1), (1, 1), 4)
    grid = grid.to_empty(device="cpu")
    grid.load_state_dict(whole.state_dict())
    assert repr(grid) == repr(whole)
    with torch.device("meta"):
        grid.update(lambda points: points.abs().sum(-1), step=0)
        samples = grid.sample(torch.full((1, 2), -2.0, device="cpu"), torch.ones(1, 2, device="cpu"), 0.0, 9.0, 0.1)
    assert samples.edges.device.type == "cpu"
    assert len(samples.edges) > 0


def test_tensors_elsewhere_give_results_elsewhere():
    """Without numbers, shapes and dtypes remain."""
    for name, number in CASES:
        if not name.startswith(("ts.ray.", "ts.render.")) or name.startswith("ts.render.OccupancyGrid"):
            continue
        if name in ("ts.render.pack", "ts.render.unpack"):
            continue
        arguments = arguments_of(name, number)
        if "generator" in arguments or not any(isinstance(value, Tensor) for value in arguments.values()):
            continue
        expected = call(name, arguments)
        moved = tree_map(lambda value: value.to("meta") if isinstance(value, Tensor) else value, arguments)
        for one, other in zip(tree_leaves(call(name, moved)), tree_leaves(expected), strict=True):
            assert one.is_meta, name
            assert (one.shape, one.dtype) == (other.shape, other.dtype), name
