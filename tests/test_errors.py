"""Bad input: each error names function, argument, what was wanted, what came, and what to do."""

import math

import pytest
import torch

import torchsample as ts

COORDS, MAP = torch.zeros(2, 5, 2), torch.zeros(2, 3, 4, 6)
PRED = torch.rand(2, 3, 4, 4)

CASES = {
    # sample and its shapes
    "rank 3 coords on a 2-D map": (lambda: ts.sample(torch.zeros(2, 5, 3), MAP), ValueError, "ts.sample", "featmap", "nobatch"),
    "rank 1 coords without points": (lambda: ts.sample(torch.zeros(5, 1), MAP), ValueError, "ts.sample", "coords", "one point dimension"),
    "no batch": (lambda: ts.sample(torch.zeros(5, 2), MAP[0]), ValueError, "ts.sample", "featmap", "ts.sample.nobatch"),
    "no points": (lambda: ts.sample(torch.zeros(2, 2), MAP), ValueError, "ts.sample", "coords", "batch_index="),
    "scalar coords": (lambda: ts.sample(torch.tensor(0.0), MAP), ValueError, "ts.sample", "coords", "reshape(1)"),
    "no coordinates": (lambda: ts.sample(torch.zeros(2, 5, 0), MAP), ValueError, "ts.sample", "coords", "at least 1"),
    "batch of 2 and 3": (lambda: ts.sample(torch.zeros(3, 5, 2), MAP), ValueError, "ts.sample", "coords", "equal, or 1"),
    "batch of 0 and 2": (lambda: ts.sample(torch.zeros(0, 5, 2), MAP), ValueError, "ts.sample", "coords", "equal, or 1"),
    "map without pixels": (lambda: ts.sample(COORDS, torch.zeros(2, 3, 4, 0)), ValueError, "ts.sample", "featmap", "one pixel"),
    # sample and its types
    "integer coords": (lambda: ts.sample(COORDS.long(), MAP), TypeError, "ts.sample", "coords", "ts.coord.normalize"),
    "complex coords": (lambda: ts.sample(COORDS.to(torch.complex64), MAP), TypeError, "ts.sample", "coords", "floating-point"),
    "list coords": (lambda: ts.sample([[0.0, 0.0]], MAP), TypeError, "ts.sample", "coords", "torch.as_tensor"),
    "array map": (lambda: ts.sample(COORDS, MAP.numpy()), TypeError, "ts.sample", "featmap", "torch.as_tensor"),
    "devices": (lambda: ts.sample(COORDS.to("meta"), MAP), ValueError, "ts.sample", "coords", ".to(device)"),
    "integer map, linear": (lambda: ts.sample(COORDS, MAP.long()), TypeError, "ts.sample", "featmap", "mode='nearest'"),
    "mode": (lambda: ts.sample(COORDS, MAP, mode="lanczos"), ValueError, "ts.sample", "mode", "'bilinear'"),
    "mode None": (lambda: ts.sample(COORDS, MAP, mode=None), ValueError, "ts.sample", "mode", "'nearest'"),
    "padding": (lambda: ts.sample(COORDS, MAP, padding_mode="mirror"), ValueError, "ts.sample", "padding_mode", "'reflection'"),
    "align_corners": (lambda: ts.sample(COORDS, MAP, align_corners=None), TypeError, "ts.sample", "align_corners", "True or False"),
    "feat_last": (lambda: ts.sample(COORDS, MAP, feat_last=1), TypeError, "ts.sample", "feat_last", "True or False"),
    "nobatch, mode": (lambda: ts.sample.nobatch(COORDS[0], MAP[0], mode="x"), ValueError, "ts.sample.nobatch", "mode", "'bilinear'"),
    # sample and its encoder
    "encoder drops points": (
        lambda: ts.sample(COORDS, MAP, encoder=lambda c: c[:, :3]),
        ValueError,
        "ts.sample",
        "encoder",
        "all dimensions",
    ),
    "encoder drops dims": (
        lambda: ts.sample(COORDS, MAP, encoder=lambda c: c.sum(-1)),
        ValueError,
        "ts.sample",
        "encoder",
        "all dimensions",
    ),
    "encoder gives no tensor": (lambda: ts.sample(COORDS, MAP, encoder=lambda _: 3), ValueError, "ts.sample", "encoder", "got int"),
    "encoder on another device": (
        lambda: ts.sample(COORDS, MAP, encoder=lambda c: c.to("meta")),
        ValueError,
        "ts.sample",
        "encoder",
        ".to(",
    ),
    "encoder on labels": (
        lambda: ts.sample(COORDS, MAP.long(), "nearest", encoder=lambda c: c),
        TypeError,
        "ts.sample",
        "encoder",
        "featmap.float()",
    ),
    "encoder is no function": (lambda: ts.sample(COORDS, MAP, encoder="gamma"), TypeError, "ts.sample", "encoder", "callable"),
    # sample and its batch_index
    "float batch_index": (lambda: ts.sample(COORDS[0], MAP, batch_index=torch.zeros(5)), TypeError, "ts.sample", "batch_index", ".long()"),
    "batched points": (lambda: ts.sample(COORDS, MAP, batch_index=torch.zeros(5).long()), ValueError, "ts.sample", "coords", "Leave"),
    "short batch_index": (
        lambda: ts.sample(COORDS[0], MAP, batch_index=torch.zeros(4).long()),
        ValueError,
        "ts.sample",
        "batch_index",
        "(5,)",
    ),
    "batch_index 2 of 2": (
        lambda: ts.sample(COORDS[0], MAP, batch_index=torch.full((5,), 2)),
        ValueError,
        "ts.sample",
        "batch_index",
        "between 0 and 1",
    ),
    "batch_index -1": (
        lambda: ts.sample(COORDS[0], MAP, batch_index=torch.full((5,), -1)),
        ValueError,
        "ts.sample",
        "batch_index",
        "from -1",
    ),
    "batch_index on meta": (
        lambda: ts.sample(COORDS[0], MAP, batch_index=torch.zeros(5, device="meta").long()),
        ValueError,
        "ts.sample",
        "batch_index",
        ".to(device)",
    ),
    # The helpers of layout
    "feat_first of a vector": (lambda: ts.feat_first(torch.zeros(3)), ValueError, "ts.feat_first", "tensor", "unsqueeze"),
    "feat_last of a vector": (lambda: ts.feat_last(torch.zeros(3)), ValueError, "ts.feat_last", "tensor", "unsqueeze"),
    "size of an image": (lambda: ts.tensor_to_size(torch.zeros(3, 4)), ValueError, "ts.tensor_to_size", "tensor", "unsqueeze"),
    "size of a list": (lambda: ts.tensor_to_size([1]), TypeError, "ts.tensor_to_size", "tensor", "as_tensor"),
    # coord and its counts and sizes
    "rand, no samples": (lambda: ts.coord.rand(1, 0), ValueError, "ts.coord.rand", "n_samples", "at least 1"),
    "rand, half a sample": (lambda: ts.coord.rand(1, 2.5), TypeError, "ts.coord.rand", "n_samples", "2.5"),
    "rand, no dims": (lambda: ts.coord.rand(1, 2, 0), ValueError, "ts.coord.rand", "dims", "at least 1"),
    "rand, batch True": (lambda: ts.coord.rand(True, 2), TypeError, "ts.coord.rand", "batch", "int"),
    "rand_like, no samples": (lambda: ts.coord.rand_like(0, MAP), ValueError, "ts.coord.rand_like", "n_samples", "at least 1"),
    "rand_like.nobatch, vector": (
        lambda: ts.coord.rand_like.nobatch(2, torch.zeros(3)),
        ValueError,
        "ts.coord.rand_like.nobatch",
        "tensor",
        "unsqueeze",
    ),
    "randint, no samples": (lambda: ts.coord.randint(1, -1, (4, 4)), ValueError, "ts.coord.randint", "n_samples", "at least 1"),
    "randint, side 0": (lambda: ts.coord.randint(1, 1, (4, 0)), ValueError, "ts.coord.randint", "size", "(4, 0)"),
    "randint, int size": (lambda: ts.coord.randint(1, 1, 16), TypeError, "ts.coord.randint", "size", "(w,)"),
    "randint, too many": (lambda: ts.coord.randint(1, 17, (4, 4)), IndexError, "ts.coord.randint", "n_samples", "replace=True"),
    "randint_like, too many": (lambda: ts.coord.randint_like(99, MAP), IndexError, "ts.coord.randint_like", "n_samples", "replace=True"),
    "full, no size": (lambda: ts.coord.full(1, ()), ValueError, "ts.coord.full", "size", "()"),
    "full, float size": (lambda: ts.coord.full(1, (4.0, 4.0)), TypeError, "ts.coord.full", "size", "tensor_to_size"),
    "full, tensor size": (lambda: ts.coord.full(1, torch.tensor([4, 4])), TypeError, "ts.coord.full", "size", "tensor_to_size"),
    "full.nobatch, side -1": (lambda: ts.coord.full.nobatch((4, -1)), ValueError, "ts.coord.full.nobatch", "size", "(4, -1)"),
    "full_like, no pixels": (lambda: ts.coord.full_like(torch.zeros(1, 1, 0, 4)), ValueError, "ts.coord.full_like", "size", "(4, 0)"),
    "full_like, image": (lambda: ts.coord.full_like(torch.zeros(3, 4)), ValueError, "ts.coord.full_like", "tensor", "nobatch"),
    "normalize, too many sides": (
        lambda: ts.coord.normalize(COORDS, (4, 4, 4)),
        ValueError,
        "ts.coord.normalize",
        "size",
        "one side per coordinate",
    ),
    "normalize, side 0": (lambda: ts.coord.normalize(COORDS, 0), ValueError, "ts.coord.normalize", "size", "at least 1"),
    "normalize, bool": (lambda: ts.coord.normalize(COORDS.bool(), 4), TypeError, "ts.coord.normalize", "coord", "coord.float()"),
    "normalize, scalar": (lambda: ts.coord.normalize(torch.tensor(1.0), (4,)), ValueError, "ts.coord.normalize", "size", "one int"),
    "unnormalize, too few sides": (lambda: ts.coord.unnormalize(COORDS, (4,)), ValueError, "ts.coord.unnormalize", "size", "(4,)"),
    "unnormalize, clip": (lambda: ts.coord.unnormalize(COORDS, 4, clip=2), TypeError, "ts.coord.unnormalize", "clip", "True or False"),
    "unnormalize, list": (lambda: ts.coord.unnormalize([0.0], 4), TypeError, "ts.coord.unnormalize", "coord", "as_tensor"),
    "inside, integer": (lambda: ts.coord.inside(COORDS.long()), TypeError, "ts.coord.inside", "coords", "normalize"),
    "inside, scalar": (lambda: ts.coord.inside(torch.tensor(0.0)), ValueError, "ts.coord.inside", "coords", "reshape(1)"),
    "from_unit, integer": (lambda: ts.coord.from_unit(COORDS.long()), TypeError, "ts.coord.from_unit", "coords", "floating-point"),
    "to_unit, integer": (lambda: ts.coord.to_unit(COORDS.long()), TypeError, "ts.coord.to_unit", "coords", "floating-point"),
    # What looks for uncertainty
    "k below 1": (lambda: ts.coord.rand_biased(2, 5, PRED, k=0.5), ValueError, "ts.coord.rand_biased", "k", "0.5"),
    "k infinite": (lambda: ts.coord.rand_biased(2, 5, PRED, k=math.inf), ValueError, "ts.coord.rand_biased", "k", "finite"),
    "k NaN": (lambda: ts.coord.rand_biased(2, 5, PRED, k=math.nan), ValueError, "ts.coord.rand_biased", "k", "nan"),
    "beta above 1": (lambda: ts.coord.rand_biased(2, 5, PRED, beta=1.1), ValueError, "ts.coord.rand_biased", "beta", "from 0 to 1"),
    "beta below 0": (lambda: ts.coord.rand_biased(2, 5, PRED, beta=-0.1), ValueError, "ts.coord.rand_biased", "beta", "from 0 to 1"),
    "beta text": (lambda: ts.coord.rand_biased(2, 5, PRED, beta="1"), TypeError, "ts.coord.rand_biased", "beta", "'1'"),
    "biased, no samples": (lambda: ts.coord.rand_biased(2, 0, PRED), ValueError, "ts.coord.rand_biased", "n_samples", "at least 1"),
    "biased, batch of 3": (lambda: ts.coord.rand_biased(3, 5, PRED), ValueError, "ts.coord.rand_biased", "pred", "batch=pred.shape[0]"),
    "biased, labels": (lambda: ts.coord.rand_biased(2, 5, PRED.long()), TypeError, "ts.coord.rand_biased", "pred", "not labels"),
    "biased, flat": (lambda: ts.coord.rand_biased(2, 5, PRED[0, 0]), ValueError, "ts.coord.rand_biased", "pred", "(batch, c, *spatial)"),
    "biased, no classes": (lambda: ts.coord.rand_biased(2, 5, PRED[:, :0]), ValueError, "ts.coord.rand_biased", "pred", "at least one"),
    "biased, unknown": (
        lambda: ts.coord.rand_biased(2, 5, PRED, uncertainty="x"),
        ValueError,
        "ts.coord.rand_biased",
        "uncertainty",
        "'margin'",
    ),
    "biased, binary of 3": (
        lambda: ts.coord.rand_biased(2, 5, PRED, uncertainty="binary_logits"),
        ValueError,
        "ts.coord.rand_biased",
        "pred",
        "'margin'",
    ),
    "biased, margin of 1": (
        lambda: ts.coord.rand_biased(2, 5, PRED[:, :1], uncertainty="margin"),
        ValueError,
        "ts.coord.rand_biased",
        "pred",
        "'binary_logits'",
    ),
    "biased, own function": (
        lambda: ts.coord.rand_biased(2, 5, PRED, uncertainty=lambda s: s),
        ValueError,
        "ts.coord.rand_biased",
        "uncertainty",
        "Reduce",
    ),
    "uncertain, batch": (lambda: ts.coord.uncertain(PRED), ValueError, "ts.coord.uncertain", "pred", "return_batch_index=True"),
    "uncertain, n too large": (lambda: ts.coord.uncertain(PRED, n=17), IndexError, "ts.coord.uncertain", "n", "16 pixels"),
    "uncertain, n = 0": (lambda: ts.coord.uncertain(PRED, n=0), ValueError, "ts.coord.uncertain", "n", "at least 1"),
    "uncertain, labels": (lambda: ts.coord.uncertain(PRED.long()), TypeError, "ts.coord.uncertain", "pred", "not labels"),
    "uncertain, threshold": (lambda: ts.coord.uncertain(PRED, "0.5"), TypeError, "ts.coord.uncertain", "threshold", "'0.5'"),
    # The networks
    "MLP, one layer": (lambda: ts.models.MLP(4), ValueError, "ts.models.MLP", "layers", "two widths"),
    "MLP, none": (lambda: ts.models.MLP(), ValueError, "ts.models.MLP", "layers", "two widths"),
    "MLP, list of one": (lambda: ts.models.MLP([4]), ValueError, "ts.models.MLP", "layers", "two widths"),
    "MLP, width 0": (lambda: ts.models.MLP(4, 0, 1), ValueError, "ts.models.MLP", "layers", "at least 1"),
    "MLP, float": (lambda: ts.models.MLP(4, 2.0), TypeError, "ts.models.MLP", "layers", "2.0"),
    "MLP, activation": (lambda: ts.models.MLP(4, 4, 2, activation="relu"), TypeError, "ts.models.MLP", "activation", "'relu'"),
    "MLP, input": (lambda: ts.models.MLP(4, 2)(torch.zeros(3, 5)), ValueError, "ts.models.MLP", "input", "(..., 4)"),
    "MLP, integers": (lambda: ts.models.MLP(4, 2)(torch.zeros(3, 4).long()), TypeError, "ts.models.MLP", "input", "input.float()"),
    "generator": (lambda: ts.coord.rand(1, 2, generator=3), TypeError, "ts.coord.rand", "generator", "torch.Generator()"),
    "float8": (lambda: ts.sample(COORDS.to(torch.float8_e4m3fn), MAP), TypeError, "ts.sample", "coords", "ts.coord.normalize"),
    "MLP, no tensor": (lambda: ts.models.MLP(4, 2)([0.0] * 4), TypeError, "ts.models.MLP", "input", "as_tensor"),
}


@pytest.mark.parametrize("name", CASES)
def test_error(name):
    call, error, function, argument, remedy = CASES[name]
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert text.startswith(f"{function}: `{argument}` must be ")
    assert ", got " in text
    assert remedy in text
    assert text.endswith(".")


def test_nothing_relies_on_assert():
    """The checks must survive ``python -O``."""
    import ast
    import pathlib

    for path in pathlib.Path(ts.__file__).parent.rglob("*.py"):
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))), path
