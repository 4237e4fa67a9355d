"""The suite has teeth: break one thing at a time, and a test must notice.

Each case rewrites one piece of one function's source, puts the code object in the place of the true one, and runs checks that other files
hold; if none of them fails, those checks prove nothing.
"""

import inspect
import sys
import textwrap

import numpy as np
import pytest
import torch

import backends
import test_back_ends as backend_tests
import test_chunks as chunk_tests
import test_coord_convert as convert_tests
import test_coord_generators as generator_tests
import test_encoding as encoding_tests
import test_engine as engine_tests
import test_local_encodings as local_encoding_tests
import test_local_ensemble as ensemble_tests
import test_models as model_tests
import test_neighborhood as neighborhood_tests
import test_regions as region_tests
import test_sample_contract as contract_tests
import test_sample_values as value_tests
import test_subdivide as subdivide_tests
import test_uncertainty as uncertainty_tests
import torchsample as ts
from torchsample import chunks, liif, pointrend, regions, uncertainty
from torchsample.coordinates import convert, distinct, full, pixels, uniform
from torchsample.interpolation import autograd, boundary, coefficients, dispatch, fast_cpu, fast_grid, kernels, reference, rows, taps
from torchsample.sampling import checks, levels


def values(rank, mode, padding_mode="border", align_corners=False):
    return lambda: value_tests.check_against_oracle(rank, mode, padding_mode, align_corners)


def by_definition(check):
    def checked():
        with backends.served_by("definition"):
            check()

    return checked


def derivatives(rank, mode, padding_mode, name="table"):
    return lambda: backend_tests.check_derivatives(rank, mode, padding_mode, False, name)


SAMPLE = ts.sample.__globals__
NEIGHBORHOOD = ts.neighborhood.__globals__

CASES = {
    "circular with a longer period": (
        boundary.Circular.resolve,
        "remainder(index, side)",
        "remainder(index, side + 1).clamp(max=side - 1)",
        values(1, "bilinear", "circular"),
    ),
    "circular folds elsewhere": (
        boundary.Circular.fold,
        "remainder(position, side)",
        "remainder(position, side - 1)",
        values(1, "bilinear", "circular"),
    ),
    "spline weights": (kernels.spline_weights, "(k - u - m)", "(k - u)", engine_tests.check_scipy_smallest),
    "spline poles": (coefficients._response, "range(reach + 1)", "range(1, reach + 2)", engine_tests.check_scipy_smallest),
    "spline margin": (
        coefficients.margin,
        "1e-8",
        "1e-2",
        lambda: engine_tests.test_splines_are_those_of_scipy("bspline3", "border", False),
    ),
    "adjoint of the filter": (
        coefficients.from_coefficients,
        "index_add(axis, index, signal)",
        "index_copy(axis, index, signal)",
        lambda: engine_tests.check_adjoint(1, "bspline3", "reflection", False),
    ),
    "splat forgets to add": (
        reference.scatter,
        "accumulate=True",
        "accumulate=False",
        by_definition(lambda: engine_tests.check_adjoint(1, "bilinear", "border", False)),
    ),
    "slope of the wrong axis": (
        reference.interpolate_with_jacobian,
        "[*weights[:number], slope, *weights[number + 1 :]]",
        "[slope, *weights[1:]]",
        lambda: engine_tests.test_jacobian(2, "bilinear", "border"),
    ),
    "fill inside": (SAMPLE["_fill"], "~inside(coords)", "inside(coords)", engine_tests.test_fill_is_for_points_outside),
    "linear weights swapped": (kernels.Linear.weights, "1 - t, t", "t, 1 - t", values(1, "bilinear")),
    "one linear weight off": (kernels.Linear.weights, "1 - t, t", "1 - t, 1.001 * t", values(1, "bilinear")),
    "cubic a ignored": (kernels.Cubic._far, "self.a *", "0.9 * self.a *", values(1, "bicubic")),
    "cubic middle": (kernels.Cubic._near, "self.a + 2", "self.a + 3", values(1, "bicubic")),
    "cubic order": (kernels.Cubic.weights, "self._near(t), self._near(1 - t)", "self._near(1 - t), self._near(t)", values(2, "bicubic")),
    "nearest rounds down": (kernels.Nearest.anchor, "round", "floor", values(2, "nearest")),
    "linear anchor rounds": (kernels.Kernel.anchor, "floor", "round", values(1, "bilinear")),
    "border one short": (boundary.Border.resolve, "side - 1", "side - 2", values(1, "bilinear")),
    "zeros count": (boundary.Zeros.resolve, "index < side", "index <= side", values(2, "bilinear", "zeros")),
    "zeros count before": (boundary.Zeros.resolve, "index >= 0", "index >= -1", values(2, "bilinear", "zeros")),
    "reflection repeats no edge": (
        boundary.Reflection.resolve,
        "2 * side - 1 - phase",
        "2 * side - 2 - phase",
        values(2, "bilinear", "reflection"),
    ),
    "aligned reflection": (
        boundary.Reflection.resolve,
        "2 * (side - 1) - phase",
        "2 * side - 1 - phase",
        values(1, "bicubic", "reflection", True),
    ),
    "reflection folds elsewhere": (boundary.Reflection._mirror, "(-0.5, side)", "(0.0, side)", values(1, "bilinear", "reflection")),
    "aligned reflection folds elsewhere": (
        boundary.Reflection._mirror,
        "(0.0, side - 1)",
        "(0.0, side)",
        values(1, "bilinear", "reflection", True),
    ),
    "folded too near": (boundary.Boundary.fold, "-reach - 1, side + reach", "0, side - 1", values(1, "bicubic", "border")),
    "align_corners ignored": (convert.to_position, "side - align_corners", "side", values(2, "bilinear", "border", True)),
    "half a pixel off": (convert.to_position, "(side - 1) / 2", "side / 2", values(2, "bilinear")),
    "axes swapped": (reference._taps, "coords.unbind(-1)", "coords.flip(-1).unbind(-1)", values(2, "bilinear")),
    "weights in another order": (
        reference._outer,
        "product.unsqueeze(-1) * factor.unsqueeze(-2)",
        "product.unsqueeze(-2) * factor.unsqueeze(-1)",
        values(2, "bilinear"),
    ),
    "NaN has a say": (
        reference._hush,
        "~values.isfinite()",
        "values.isneginf()",
        by_definition(lambda: value_tests.test_pixel_without_weight_has_no_say("bilinear")),
    ),
    "NaN coordinates forgotten": (
        reference.interpolate,
        "masked_fill(_like(undefined, total), torch.nan)",
        "clone()",
        by_definition(value_tests.test_nan_coordinate_touches_no_other_point),
    ),
    "batch forgotten": (checks.map_indices, "torch.arange(side, ", "torch.zeros(side, dtype=torch.long, ", values(1, "bilinear")),
    "a table's rows in another order": (taps.address, "left * axis.extent + right", "right * axis.extent + left", values(3, "bicubic")),
    "a table's weights in another order": (taps.multiply, "product(slow, columns)", "product(columns, slow)", values(3, "bicubic")),
    "the first map for all": (dispatch._owner, "reference.count_maps(", "0 * reference.count_maps(", values(2, "bicubic")),
    "a table's slope of the wrong axis": (
        fast_cpu.Table.coords_gradient,
        "[*weights[:number], slant, *weights[number + 1 :]]",
        "[slant, *weights[1:]]",
        derivatives(2, "bicubic", "border"),
    ),
    "sorted taps with the weights of others": (
        fast_cpu._sort,
        "weight.flatten().index_select(0, order)",
        "weight.flatten()",
        derivatives(2, "bicubic", "border"),
    ),
    "a canvas forgets what it holds": (fast_cpu._Canvas.add, "+= sums", "= sums", backend_tests.test_pieces_add_up),
    "a canvas is never cleared": (fast_cpu._Canvas.finish, "= 0", "+= 1", backend_tests.test_pieces_add_up),
    "touched pixels elsewhere": (rows.put_rows, "pixels // side", "0 * pixels", backend_tests.test_few_points_on_a_large_map),
    "points dealt to the wrong share": (
        fast_grid._deal,
        "points.reshape(shares, -1, points.shape[1])",
        "points.reshape(-1, shares, points.shape[1]).transpose(0, 1)",
        lambda: backend_tests.check_shares(3, 2, 1),
    ),
    "kinks on either side": (
        fast_grid._at_centers,
        "ROUNDING * side * eps",
        "-1.0",
        lambda: backend_tests.test_one_rule_for_slopes_at_pixel_centers(torch.float32, False, "border"),
    ),
    "centers but for rounding forgotten": (
        reference._settle,
        "extent * torch.finfo(plain.dtype).eps",
        "-1.0",
        lambda: backend_tests.check_kinks(2, 6, 1),
    ),
    "slopes of the cubic kernel": (
        kernels.Cubic.slopes,
        "-near(1 - t)",
        "near(1 - t)",
        derivatives(1, "bicubic", "border"),
    ),
    "slopes of splines": (
        kernels.BSpline.slopes,
        "before - after",
        "after - before",
        derivatives(1, "bspline3", "border"),
    ),
    "slopes do not turn where the map is mirrored": (
        boundary.Reflection.fold_slope,
        "1 - 2 * back",
        "1 - 0 * back",
        derivatives(1, "bicubic", "reflection"),
    ),
    "maps in another order taken for their own": (
        dispatch.choose,
        "not (in_order and",
        "not (True and",
        lambda: contract_tests.TestBatchIndex().test_groups_of_points(1, (7,)),
    ),
    "32 random bits": (
        uniform.integers,
        "torch.randint(2**62, shape",
        "torch.randint(2**32, shape",
        lambda: generator_tests.TestRandint().test_uniform_to_more_than_32_bits(),
    ),
    "regions without a graph": (
        regions._nothing,
        " + zero",
        "",
        lambda: region_tests.test_no_regions(1, 2),
    ),
    "cells beyond a thin map": (
        NEIGHBORHOOD["read_cells"],
        "from_position(pixel, axis.side, False)",
        "from_position(pixel, axis.side, axis.align_corners)",
        lambda: ensemble_tests.test_unfold_of_thin_maps((1, 4), True),
    ),
    "probabilities taken for logits": (
        uncertainty._warn_of_probabilities,
        "0 <= low <= 0.25 and",
        "False and",
        lambda: uncertainty_tests.TestDefault().test_one_probability(),
    ),
    "fractions cut off in an array of bytes": (
        chunks._check_fits,
        "not can_hold(target, values.dtype)",
        "False",
        lambda: chunk_tests.test_numbers_that_an_array_would_truncate(np.zeros),
    ),
    "NaN coordinates forgotten by fast paths": (
        dispatch.interpolate,
        "torch.nan if",
        "0.0 if",
        value_tests.test_nan_coordinate_touches_no_other_point,
    ),
    "NaN pixels forgotten by fast paths": (
        autograd.demand_finite,
        "raise NotFiniteError",
        "pass",
        lambda: value_tests.test_pixel_without_weight_has_no_say("bilinear"),
    ),
    "features left behind": (
        SAMPLE["finish"],
        "values.movedim(-1, n_batch)",
        "values.movedim(-1, 0)",
        lambda: contract_tests.test_shape_rule(2, (3, 4), (2,)),
    ),
    "encoding first": (
        SAMPLE["finish"],
        "torch.cat([values, _encode(function, encoder, coords, values)], dim=-1)",
        "torch.cat([_encode(function, encoder, coords, values), values], dim=-1)",
        lambda: contract_tests.TestEncoder().test_stands_after_the_features(),
    ),
    "result not contiguous": (SAMPLE["finish"], ".contiguous()", "", lambda: contract_tests.test_shape_rule(2, (3, 4), (2,))),
    "normalize half a pixel off": (
        convert.from_position,
        "(side - 1)",
        "side",
        lambda: convert_tests.test_sizes_go_with_their_axes(),
    ),
    "full with axes reversed": (
        full._full,
        "torch.eye(len(sides), dtype=dtype, device=device)",
        "torch.eye(len(sides), dtype=dtype, device=device).flip(0)",
        lambda: generator_tests.TestFull().test_every_pixel_in_its_place(2, False),
    ),
    "randint on the wrong axis": (
        pixels.axis_indices,
        "flat // side",
        "flat // size[-1]",
        lambda: generator_tests.TestRandint().test_are_pixel_centres(False, False),
    ),
    "randint with repeats": (
        distinct._first_occurrences,
        "values[:, 1:] != values[:, :-1]",
        "values[:, 1:] == values[:, 1:]",
        lambda: generator_tests.TestRandint().test_distinct(6, (6, 4)),
    ),
    "randint prefers the first pixels": (
        distinct.distinct,
        "return _shuffle(rows, population, device, generator)[:, :n_samples]",
        "return torch.arange(n_samples).repeat(rows, 1)",
        lambda: generator_tests.TestRandint().test_every_pixel_is_equally_likely(20, False),
    ),
    "rows sorted as one overlap": (
        distinct._sort_rows,
        "keys + row * bound",
        "keys + row",
        lambda: generator_tests.TestRandint().test_the_first_distinct_of_many_draws(),
    ),
    "gamma's frequencies": (
        ts.encoding.gamma,
        "torch.exp2(torch.arange(-1, order",
        "torch.exp2(0.99 * torch.arange(-1, order",
        encoding_tests.TestGamma.check_values,
    ),
    "gamma's order": (ts.encoding.gamma, "angle.cos(), angle.sin()", "angle.sin(), angle.cos()", encoding_tests.TestGamma.check_values),
    "gamma without pi": (ts.encoding.gamma, "math.pi", "3.14159", encoding_tests.TestGamma.check_values),
    "gamma reduced wrongly": (ts.encoding.gamma, "- turns.round()", "- (2 * turns).round() / 2", encoding_tests.TestGamma.check_values),
    "gamma written elsewhere": (
        ts.encoding.gamma.__globals__["_write"],
        "target[..., 1] = angle.sin_()",
        "target[..., 1] = angle.sin_().roll(1, 0)",
        lambda: encoding_tests.TestGamma().test_many_points_are_the_same_bit_for_bit(2, torch.float32),
    ),
    "nearest_pixel's sign": (
        ts.encoding.nearest_pixel,
        "scale * (position.round().clamp(0, side - 1) - position)",
        "scale * (position - position.round().clamp(0, side - 1))",
        lambda: encoding_tests.TestNearestPixel().test_values(False),
    ),
    "nearest_pixel beyond the map": (
        ts.encoding.nearest_pixel,
        ".clamp(0, side - 1)",
        "",
        lambda: encoding_tests.TestNearestPixel().test_sign_edges_and_ties(),
    ),
    "beta ignored": (
        uncertainty._rand_biased,
        "int(beta * n_samples)",
        "n_samples",
        lambda: uncertainty_tests.TestRandBiased().test_beta(),
    ),
    "k ignored": (
        uncertainty._rand_biased,
        "draw(int(k * n_samples))",
        "draw(3 * n_samples)",
        lambda: uncertainty_tests.TestRandBiased().test_k(),
    ),
    "certain ones chosen": (
        uncertainty._choose,
        "largest=False",
        "largest=True",
        lambda: uncertainty_tests.TestRandBiased().test_keeps_exactly_the_most_uncertain_candidates(True),
    ),
    "biased at unaligned corners": (
        uncertainty._choose,
        "align_corners=align_corners",
        "align_corners=False",
        lambda: uncertainty_tests.TestRandBiased().test_keeps_exactly_the_most_uncertain_candidates(True),
    ),
    "threshold turned round": (
        uncertainty._find,
        "certainty < float(threshold)",
        "certainty > float(threshold)",
        lambda: uncertainty_tests.TestUncertain().test_batch(None, 1),
    ),
    "an activation after the last layer": (
        ts.models.MLP.forward,
        "return output",
        "return output.relu()",
        model_tests.test_is_the_textbook,
    ),
    "cells around another one": (
        NEIGHBORHOOD["Cells"].offsets.fget,
        "(self.size - 1) // 2",
        "self.size // 2",
        lambda: neighborhood_tests.check_random(1, 2, False),
    ),
    "offsets from a pixel that is not there": (
        NEIGHBORHOOD["_columns"],
        "position.unsqueeze(-1) - inside",
        "position.unsqueeze(-1) - pixels",
        lambda: neighborhood_tests.check_random(2, 2, True),
    ),
    "all cells valid": (
        NEIGHBORHOOD["_columns"],
        "pixels == inside",
        "pixels == pixels",
        lambda: neighborhood_tests.check_random(1, 2, False),
    ),
    "cells in another order": (
        NEIGHBORHOOD["_combine"],
        "[1] * (rank - 1 - axis) + [size] + [1] * axis",
        "[1] * axis + [size] + [1] * (rank - 1 - axis)",
        lambda: neighborhood_tests.check_random(2, 2, False),
    ),
    "patches transposed": (
        NEIGHBORHOOD["patch_pixels"],
        "shift[-1 - axis]",
        "shift[axis]",
        lambda: ensemble_tests.test_unfold_is_a_wide_map(2, 3),
    ),
    "patches pixel by pixel": (
        liif._local_ensemble,
        "patches.movedim(-1, -2)",
        "patches.movedim(-1, -1)",
        lambda: ensemble_tests.test_unfold_is_a_wide_map(2, 3),
    ),
    "cells in another unit": (
        liif._read_cell,
        "(spread * scale)",
        "(spread * scale / 2)",
        lambda: ensemble_tests.test_columns_are_features_offsets_cells(False),
    ),
    "an ensemble of equals": (
        liif._weigh,
        "places.weight.to(answers.dtype)",
        "torch.full_like(places.weight, 1 / places.weight.shape[-1])",
        ensemble_tests.check_liif,
    ),
    "news of one neighbour only": (
        pointrend._spread,
        "torch.maximum(",
        "torch.minimum(",
        lambda: subdivide_tests.check(subdivide_tests.dyadic(2, 1, 4, 4), 3, 60, True),
    ),
    "refined pixels forgotten": (
        pointrend._choose,
        "keys + behind",
        "keys",
        subdivide_tests.test_an_ambiguous_area_does_not_eat_all_points,
    ),
    "a step too few": (
        ts.subdivide,
        "n_points >= prod",
        "n_points > prod",
        lambda: subdivide_tests.test_steps_that_could_predict_the_next_one_predict_nothing(256),
    ),
    "certain pixels refined": (
        pointrend._choose,
        "keys = certainty",
        "keys = -certainty",
        lambda: subdivide_tests.check(subdivide_tests.dyadic(2, 1, 4, 4), 1, 7, False),
    ),
    "pieces over each other": (
        chunks._Collector.add,
        "self._start += piece.shape[self._dim]",
        "pass",
        lambda: chunk_tests.check_one_call(4),
    ),
    "tiles of other axes": (chunks._tile_coords, "place[::-1]", "place", lambda: chunk_tests.check_tiles((5, 4, 3), (3, 2, 1))),
    "tiles cut short": (
        chunks._tile_slices,
        "range(0, side, step)",
        "range(0, side - side % step, step)",
        lambda: chunk_tests.check_tiles((5, 4), 2),
    ),
    "regions in the wrong map": (regions._means, "owner.repeat_interleave(", "owner.repeat(", lambda: region_tests.check_boxes((3, 2), 2)),
    "nothing beyond the edge": (regions._far, "axis < -1", "axis < 0", lambda: region_tests.check_boxes((3, 2), 2)),
    "fewer samples per bin": (regions._bins, ".ceil()", ".floor()", lambda: region_tests.check_boxes((3, 2), -1)),
    "boxes turned clockwise": (
        ts.coord.region_from_rotated_box,
        "angle.cos(), angle.sin()",
        "angle.cos(), -angle.sin()",
        lambda: region_tests.test_is_detectron2_rotated(2, 1.0),
    ),
    "levels along the batch": (
        levels._sample_levels,
        "for each in values], dim=-1)",
        "for each in values], dim=0)",
        lambda: region_tests.TestSampleLevels().test_concatenates_features_for_every_map_of_a_batch("bilinear"),
    ),
    "ope's axes swapped": (
        ts.encoding.ope,
        "row.unsqueeze(-1) * basis.unsqueeze(-2)",
        "row.unsqueeze(-2) * basis.unsqueeze(-1)",
        local_encoding_tests.TestOpe.check_values,
    ),
    "ope not normal": (ts.encoding.ope, "math.sqrt(2)", "1.0", lambda: local_encoding_tests.TestOpe().test_orthonormal(2, 3)),
    "local_texture's digits": (
        sys.modules["torchsample.encoding.local_texture"]._reduce,
        "turns - 2 * (turns.detach() / 2).round()",
        "turns",
        lambda: local_encoding_tests.TestLocalTexture().test_accurate_at_large_frequencies(1001.0),
    ),
    "local_texture's waves mixed": (
        ts.encoding.local_texture,
        "reshape(*offsets.shape[:-1], n, offsets.shape[-1])",
        "reshape(*offsets.shape[:-1], offsets.shape[-1], n).transpose(-1, -2)",
        local_encoding_tests.TestLocalTexture.check_values,
    ),
}


def broken(function, old, new):
    """The code of a function with one piece of its source replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    source = source[source.index("def ") :]
    assert old in source, "the source has changed: renew this case"
    namespace = dict(function.__globals__)
    exec(compile(source.replace(old, new), function.__code__.co_filename, "exec"), namespace)
    return namespace[function.__name__].__code__


def check_is_noticed(case, monkeypatch):
    function, old, new, check = case
    torch.manual_seed(0)
    check()
    monkeypatch.setattr(function, "__code__", broken(function, old, new))
    torch.manual_seed(0)
    with pytest.raises((AssertionError, RuntimeError, IndexError, ValueError, pytest.fail.Exception)):
        check()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_suite_notices(name, monkeypatch):
    check_is_noticed(CASES[name], monkeypatch)
