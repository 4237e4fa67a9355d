"""Many points in bounded memory: the same as in one call."""

import functools
import importlib.util
import math
import sys
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import torchsample as ts

Pair = namedtuple("Pair", "colour depth")
# Dims of coords, and how many of them are batch.
LAYOUTS = [((11,), 0), ((3, 5), 0), ((2, 11), 1), ((2, 3, 5), 1), ((1, 2, 2, 3), 1), ((2, 3, 7), 2), ((2, 1, 3, 4), 2), ((2, 3, 2, 5), 3)]


def field(coords):
    """Values of every point by itself; the same bits for any number of points."""
    x = coords.unbind(-1)
    return torch.stack([x[0] * x[1], x[0] + 2 * x[1], x[1] - 0.5], dim=-1)


class Watched:
    """A function that remembers what it was asked."""

    def __init__(self, fn=field):
        self.fn, self.shapes = fn, []

    def __call__(self, coords):
        self.shapes.append(tuple(coords.shape))
        return self.fn(coords)


def check_one_call(chunk_size):
    for points, batch_dims in LAYOUTS:
        coords = torch.randn(*points, 2)
        n, batch = math.prod(points[batch_dims:]), points[:batch_dims]
        watched = Watched()
        got = ts.chunked(watched, coords, chunk_size, batch_dims)
        assert torch.equal(got, field(coords))
        assert got.shape == (*points, 3)
        full, rest = divmod(n, chunk_size)
        assert watched.shapes == [(*batch, chunk_size, 2)] * full + [(*batch, rest, 2)] * (rest > 0)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 11, 15, 16, 10**9])
def test_is_one_call(chunk_size):
    """Any chunk size; pieces in their order, none but the last smaller, nothing asked twice."""
    check_one_call(chunk_size)


def test_results_of_any_width():
    coords = torch.randn(2, 3, 5, 2)
    flat = coords.flatten(1, 2)
    for fn in (lambda c: c.sum(-1), lambda c: c[..., :0], lambda c: c[..., None, :] * torch.ones(4, 1)):
        got = ts.chunked(fn, coords, 4)
        assert torch.equal(got, fn(flat).unflatten(1, (3, 5)))


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, b],
        lambda a, b: {"a": a, "b": b},
        lambda a, b: OrderedDict(b=b, a=a),
        lambda a, b: Pair(a, b),
        lambda a, b: {"deep": [(a,), {"b": b}], "also": a},
        lambda a, _: {"a": a, "nothing": None, "name": "x"},
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_structures(build, chunk_size):
    """Tuples, named ones too, lists and dicts, in any depth; of several dtypes and widths at once."""
    coords = torch.randn(2, 3, 3, 2)

    def fn(c):
        return build(field(c), (c.sum(-1) > 0))

    def same(got, wanted):
        assert type(got) is type(wanted)
        if isinstance(wanted, torch.Tensor):
            assert got.dtype == wanted.dtype
            assert torch.equal(got, wanted)
        elif isinstance(wanted, dict):
            assert list(got) == list(wanted)
            for key in wanted:
                same(got[key], wanted[key])
        elif isinstance(wanted, (list, tuple)):
            assert len(got) == len(wanted)
            for one, other in zip(got, wanted, strict=True):
                same(one, other)
        else:
            assert got == wanted

    same(ts.chunked(fn, coords, chunk_size), fn(coords))


def test_results_of_torch_functions():
    """`torch.max` gives a named structure of PyTorch's own."""
    coords = torch.randn(1, 9, 2)
    got = ts.chunked(lambda c: c.max(-1), coords, 4)
    assert torch.equal(got.values, coords.max(-1).values)
    assert torch.equal(got.indices, coords.max(-1).indices)


@pytest.mark.parametrize(("points", "batch_dims"), [((0,), 0), ((2, 0), 1), ((2, 3, 0), 1), ((0, 4), 1), ((2, 0, 5), 1)])
def test_no_points(points, batch_dims):
    """The shape and dtype of nothing, as fn gives them."""
    got = ts.chunked(lambda c: {"a": field(c).double()}, torch.zeros(*points, 2), 4, batch_dims)
    assert got["a"].shape == (*points, 3)
    assert got["a"].dtype == torch.float64


@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_gradients(chunk_size):
    coords = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def fn(c):
        return {"a": field(c) @ weight, "b": c.detach()}

    got = ts.chunked(fn, coords, chunk_size)
    assert not got["b"].requires_grad
    slopes = torch.autograd.grad(got["a"].square().sum(), [coords, weight])
    expected = torch.autograd.grad(fn(coords)["a"].square().sum(), [coords, weight])
    for slope, wanted in zip(slopes, expected, strict=True):
        assert_close(slope, wanted, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda c, w: ts.chunked(lambda x: field(x) @ w, c, chunk_size), (coords, weight))


def test_modes_of_autograd():
    weight = torch.randn(3, 2, requires_grad=True)
    coords = torch.randn(1, 9, 2)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            got = ts.chunked(lambda c: field(c) @ weight, coords, 4)
            assert not got.requires_grad
        assert_close(got, field(coords) @ weight)

    def inner(c):
        with torch.inference_mode():
            return field(c) @ weight

    assert_close(ts.chunked(inner, coords, 4), field(coords) @ weight)


def test_a_buffer_that_fn_uses_again():
    """Pieces are copied when they come: fn may write the next one to the same place."""
    buffer = torch.empty(1, 4, 3)

    def fn(c):
        return buffer[:, : c.shape[1]].copy_(field(c))

    coords = torch.randn(1, 11, 2)
    assert torch.equal(ts.chunked(fn, coords, 4), field(coords))


def test_any_strides_and_leaves_its_input_alone():
    coords = torch.randn(2, 5, 3, 4).transpose(1, 2)[..., ::2]
    before = coords.clone()
    got = ts.chunked(field, coords, 4)
    assert torch.equal(got, field(coords))
    assert torch.equal(coords, before)


def test_memory_is_bounded():
    """Besides the result, never more than a few chunks are alive: counted by PyTorch's own allocator."""
    coords, chunk = torch.rand(1, 200_000, 2), 5000

    def fn(c):
        return torch.cat([c] * 100, -1).cos().sum(-1)

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        ts.chunked(fn, coords, chunk)
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    result, piece = 200_000 * 4, chunk * 200 * 4
    assert peak < result + 3.5 * piece
    assert peak > piece, "the profiler saw nothing"


def test_a_network_at_any_resolution():
    featmap, model = torch.rand(1, 8, 6, 6), ts.models.MLP(8, 16, 3)
    coords = ts.coord.full(1, (23, 17))
    with torch.inference_mode():
        got = ts.chunked(lambda c: model(ts.sample(c, featmap)), coords, 50)
        assert_close(got, model(ts.sample(coords, featmap)))


def test_progress():
    seen = []

    def follow(items):
        assert len(items) == 3, "a bar must know its length"
        for item in items:
            seen.append(item)
            yield item

    coords = torch.randn(1, 11, 2)
    assert torch.equal(ts.chunked(field, coords, 4, progress=follow), field(coords))
    assert len(seen) == 3


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is optional")
def test_progress_by_tqdm(capsys):
    from tqdm import tqdm

    coords = torch.randn(1, 11, 2)
    assert torch.equal(ts.chunked(field, coords, 4, progress=True), field(coords))
    assert "3/3" in capsys.readouterr().err
    ts.chunked(field, coords, 4, progress=functools.partial(tqdm, desc="rendering"))
    assert "rendering: 100%" in capsys.readouterr().err
    ts.tiled(field, (5, 4), torch.zeros(4, 5, 3), 3, progress=True)
    assert "4/4" in capsys.readouterr().err
    ts.chunked(field, coords, 4)
    assert capsys.readouterr().err == ""


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match=r"ts\.chunked: `progress` must be False where tqdm is not installed"):
        ts.chunked(field, torch.randn(1, 11, 2), 4, progress=True)


class Wrong:
    """What fn may do wrong, by the number of its call."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def __call__(self, coords):
        return next(self.answers)(coords)


@pytest.mark.parametrize("fn", [lambda c: c[:, :-1], lambda c: c.mean(), lambda c: c.flatten(0, 1), lambda c: {"a": c, "b": c[:1]}])
def test_wrong_shapes(fn):
    with pytest.raises(
        ValueError, match=r"ts\.chunked: `fn` must be a callable from coords \(2, 4, 2\) to tensors \(2, 4, \.\.\.\), got shape"
    ):
        ts.chunked(fn, torch.randn(2, 11, 2), 4)


@pytest.mark.parametrize(
    "later",
    [
        lambda c: c[..., :1],  # broadcast
        lambda c: c[..., None, :].expand(-1, -1, 2, -1),
        lambda c: (c,),  # another structure
        lambda c: c.long(),  # another dtype
    ],
)
def test_answers_that_change_from_chunk_to_chunk(later):
    """Nothing may be broadcast, cast or dropped without a word. An error must name fn."""
    with pytest.raises((ValueError, TypeError), match=r"ts\.chunked: `fn` must be"):
        ts.chunked(Wrong(lambda c: c * 1.5, later), torch.randn(1, 7, 2), 4)


def test_keys_that_change_from_chunk_to_chunk():
    """The answers of all chunks are put under the last one's keys."""
    with pytest.raises(ValueError, match=r"ts\.chunked: `fn` must be"):
        ts.chunked(Wrong(lambda c: {"a": c}, lambda c: {"b": c}), torch.randn(1, 7, 2), 4)


def check_tiles(size, tile_size, align_corners=False):
    """Every pixel's own coordinates, bit for bit those of `full`; tiles in rows, none larger than asked for."""
    out, shapes = torch.full((*size[::-1], len(size)), torch.nan), []

    def fn(coords):
        shapes.append(tuple(coords.shape))
        return coords

    assert ts.tiled(fn, size, out, tile_size, align_corners=align_corners) is out
    assert torch.equal(out, ts.coord.full(0, size, align_corners=align_corners))
    tile = (tile_size,) * len(size) if isinstance(tile_size, int) else tile_size
    assert len(shapes) == math.prod(-(-side // step) for side, step in zip(size, tile, strict=True))
    assert all(shape[0] == 1 for shape in shapes)
    for shape in shapes:
        assert all(got <= step for got, step in zip(shape[-2:0:-1], tile, strict=True))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("size", "tile_size"),
    [
        *(((37,), step) for step in (1, 5, 37, 1000)),
        *(((13, 7), step) for step in (1, 3, (4, 2), (13, 1), (1, 7), 256)),
        *(((5, 4, 3), step) for step in (2, (3, 4, 1), 9)),
        ((3, 2, 2, 3), 2),
        ((1, 1), 4),
    ],
)
def test_tiles_have_the_coordinates_of_full(size, tile_size, align_corners):
    check_tiles(size, tile_size, align_corners)


def test_into_a_memory_map(tmp_path):
    """What is on the disk is the whole picture; uneven tiles; numpy's own casts."""
    image = torch.rand(1, 3, 10, 12)
    path = tmp_path / "picture.dat"
    out = np.memmap(path, dtype="float32", mode="w+", shape=(45, 70, 3))
    ts.tiled(lambda c: ts.sample(c, image), (70, 45), out, (32, 16))
    out.flush()
    del out
    read = np.memmap(path, dtype="float32", mode="r", shape=(45, 70, 3))
    expected = ts.sample(ts.coord.full(1, (70, 45)), image)[0].numpy()
    assert np.abs(read - expected).max() < 1e-6

    labels = np.memmap(tmp_path / "labels.dat", dtype="uint8", mode="w+", shape=(45, 70))
    ts.tiled(lambda c: (255 * ts.sample(c, image)[..., 0]).round().to(torch.uint8), (70, 45), labels, 32)
    assert np.abs(labels - 255 * expected[..., 0]).max() < 0.51


def test_into_arrays_of_many_kinds():
    class Store:
        """Takes ``out[y0:y1, x0:x1] = array`` and has a shape: what h5py and zarr have in common."""

        def __init__(self):
            self.shape, self.data = (7, 9, 2), np.zeros((7, 9, 2), "float32")

        def __setitem__(self, place, values):
            assert all(isinstance(part, slice) and part.step in (None, 1) for part in place)
            assert isinstance(values, np.ndarray)
            self.data[place] = values

    expected = ts.coord.full(0, (9, 7)).numpy()
    store = Store()
    ts.tiled(lambda c: c, (9, 7), store, 4)
    assert np.array_equal(store.data, expected)
    for dtype in ("float16", "float64"):
        out = ts.tiled(lambda c: c, (9, 7), np.zeros((7, 9, 2), dtype), 4)
        assert np.array_equal(out, expected.astype(dtype))


def test_graphs_are_left_behind():
    weight = torch.ones(2, requires_grad=True)
    tensor = ts.tiled(lambda c: c * weight, (5, 4), torch.zeros(4, 5, 2), 3)
    assert not tensor.requires_grad
    assert torch.equal(tensor, ts.coord.full(0, (5, 4)))
    array = ts.tiled(lambda c: c * weight, (5, 4), np.zeros((4, 5, 2), "float32"), 3)
    assert np.array_equal(array, tensor.numpy())


def test_bfloat16_values():
    """What autocast gives on a CPU; NumPy does not know the type, but can hold the numbers."""
    out = ts.tiled(lambda c: c.bfloat16(), (5, 4), np.zeros((4, 5, 2), "float32"), 3)
    assert np.array_equal(out, ts.coord.full(0, (5, 4)).bfloat16().float().numpy())


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
@pytest.mark.parametrize("fn", [lambda c: c[..., :1], lambda c: c[..., 0], lambda c: torch.cat([c, c], -1), lambda c: c[..., None]])
def test_values_that_do_not_fit_the_array(fn, make):
    """Another number of channels than the array's is an error of ours, and never broadcast."""
    with pytest.raises(ValueError, match=r"ts\.tiled: `(fn|out)` must be"):
        ts.tiled(fn, (5, 4), make((4, 5, 2)), 2)


@pytest.mark.parametrize("make", [np.zeros, lambda shape, dtype: torch.zeros(shape, dtype=getattr(torch, dtype))])
def test_numbers_that_an_array_would_truncate(make):
    """Colors from 0 to 1 in an array of bytes would all be 0: a picture is black, and nobody says why."""
    for fn, dtype, error, remedy in (
        (lambda c: (c + 1) / 2, "uint8", TypeError, r"round\(\)\.clamp\(0, 255\)"),
        (lambda c: c, "int64", TypeError, "must be a callable whose numbers an array of torch.int64 can hold, got torch.float32"),
        (lambda c: c > 0, "uint8", None, None),
        (lambda c: c, "bool", TypeError, "torch.bool"),
        (lambda c: torch.complex(c, c), "float32", TypeError, "torch.complex64"),
        (lambda c: (200 * c).long(), "uint8", ValueError, "numbers from -?[0-9]+ to [0-9]+"),
        (lambda c: (100 * c.abs()).long(), "uint8", None, None),
        (lambda c: (100 * c).long(), "float32", None, None),
    ):
        out = make((4, 5, 2), dtype=dtype)
        if error is None:
            assert ts.tiled(fn, (5, 4), out, 3) is out
            assert np.array_equal(np.asarray(out), fn(ts.coord.full(0, (5, 4))).numpy().astype(dtype))
            continue
        with pytest.raises(error, match=remedy):
            ts.tiled(fn, (5, 4), out, 3)
        assert not out.any()


def test_tiles_of_another_size():
    with pytest.raises(ValueError, match=r"ts\.tiled: `fn` must be a callable from coords \(1, 3, 3, 2\) to a tensor \(1, 3, 3, 2\)"):
        ts.tiled(lambda c: c[:, 1:], (5, 4), np.zeros((4, 5, 2)), 3)
    with pytest.raises(ValueError, match=r"ts\.tiled: `out` must be of shape \(4, 5, '?\.\.\.'?\) for the size \(5, 4\)"):
        ts.tiled(lambda c: c, (5, 4), np.zeros((5, 4, 2)), 3)
