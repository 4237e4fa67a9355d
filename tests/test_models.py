"""The MLP: its layers, its activation, and every kind of input."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import torchsample as ts


def test_is_the_textbook():
    model = ts.models.MLP(4, 8, 6, 3)
    x = torch.randn(5, 4)
    first, second, third = model[0], model[2], model[4]
    expected = third(second(first(x).clamp(min=0)).clamp(min=0))
    assert_close(model(x), expected)
    assert len(model) == 5


def test_a_sequence_is_the_same():
    for model in (ts.models.MLP([4, 8, 3]), ts.models.MLP((4, 8, 3)), ts.models.MLP(4, 8, 3)):
        assert [tuple(p.shape) for p in model.parameters()] == [(8, 4), (8,), (3, 8), (3,)]
        assert (model.in_features, model.out_features) == (4, 3)


def test_two_layers_are_linear():
    model = ts.models.MLP(4, 3)
    assert len(model) == 1
    assert (model(torch.full((1, 4), -100.0)) != model(torch.zeros(1, 4))).any()


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 5, 4), (0, 4), (2, 0, 4)])
def test_any_rank_and_zero_size(shape):
    model = ts.models.MLP(4, 8, 3)
    x = torch.randn(shape)
    assert model(x).shape == (*shape[:-1], 3)
    assert_close(model(x), model(x.reshape(-1, 4)).reshape(*shape[:-1], 3))


def test_any_memory_layout():
    model, x = ts.models.MLP(4, 8, 3), torch.randn(2, 4, 5, 6)
    assert_close(model(ts.feat_last(x)), model(ts.feat_last(x).contiguous()))
    assert_close(model(torch.randn(3, 4)[:1].expand(3, -1)).std(0), torch.zeros(3))


@pytest.mark.parametrize("activation", [None, nn.ReLU(inplace=True), nn.GELU(), nn.GELU, torch.sin])
def test_input_is_left_alone(activation):
    x = torch.randn(5, 4)
    before = x.clone()
    ts.models.MLP(4, 8, 3, activation=activation)(x)
    assert torch.equal(x, before)


def test_activation_stands_between_layers_only():
    model = ts.models.MLP(2, 3, 3, 1, activation=torch.sin)
    x = torch.randn(5, 2)
    assert_close(model(x), model[4](model[2](model[0](x).sin()).sin()))
    assert "sin" in repr(model)


def test_a_class_is_built_for_each_layer_and_an_instance_is_shared():
    own = ts.models.MLP(2, 3, 3, 1, activation=nn.PReLU)
    assert own[1] is not own[3]
    shared = nn.PReLU()
    model = ts.models.MLP(2, 3, 3, 1, activation=shared)
    assert model[1] is shared
    assert model[3] is shared


def test_learns():
    """A function with a kink, which no linear model fits."""
    model, x = ts.models.MLP(1, 32, 32, 1), torch.linspace(-1, 1, 128).unsqueeze(-1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        loss = (model(x) - x.abs()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_slices_are_sequentials():
    model, x = ts.models.MLP(2, 8, 8, 3), torch.randn(5, 2)
    assert_close(model[-1](model[:-1](x)), model(x))


def test_state_dict_is_that_of_a_sequential():
    assert list(ts.models.MLP(2, 3, 1).state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
