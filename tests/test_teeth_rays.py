"""Break rays and rendering on purpose, one thing at a time; the suite must notice."""

import pytest
import torch

import test_ray_cameras as camera_tests
import test_ray_distances as distance_tests
import test_ray_resample as resample_tests
import test_render_composite as composite_tests
import test_render_losses as loss_tests
import test_render_occupancy as occupancy_tests
import test_render_packed as packed_tests
import test_render_weights as weight_tests
import torchsample as ts
from test_teeth import check_is_noticed
from torchsample import ray
from torchsample.ray import arguments, cameras, contraction, intersections, poses, resampling
from torchsample.ray.intervals import stratify
from torchsample.render import depth, losses, occupancy, rays, samples, weighted_sum, weights

GRID = ts.render.OccupancyGrid

CASES = {
    "camera's half pixel": (
        cameras._plane,
        "(x + 1) * (width / 2) - cx",
        "(x + 1) * (width / 2) - 0.5 - cx",
        camera_tests.check_pixel_centres,
    ),
    "skew dropped": (cameras._plane, " - skew * y", "", lambda: camera_tests.check_projection("pinhole")),
    "field of view is vertical": (
        cameras._plane,
        "(edge * (height / width))",
        "edge",
        lambda: camera_tests.check_projection("raw pinhole"),
    ),
    "fisheye's whole angle": (cameras._plane, "angle / 2 if wide", "angle if wide", lambda: camera_tests.check_projection("wide fisheye")),
    "OpenGL looks ahead": (poses.rotate, "x - y - z", "x - y + z", lambda: camera_tests.check_projection("pinhole")),
    "world to camera": (
        poses.rotate,
        "rotation.unbind(-1)",
        "rotation.unbind(-2)",
        lambda: camera_tests.check_projection("fisheye", "opencv"),
    ),
    "orthographic pixels not square": (
        ray.orthographic,
        "sides[1] / sides[0] / 2",
        "1 / 2",
        lambda: camera_tests.check_projection("orthographic"),
    ),
    "panorama upside down": (
        ray.equirectangular,
        "latitude.sin(),",
        "-latitude.sin(),",
        lambda: camera_tests.check_projection("equirectangular"),
    ),
    "radii of one neighbour": (cameras._cast, "/ math.sqrt(12)", "/ math.sqrt(3)", lambda: camera_tests.check_radii("pinhole")),
    "radii of the next pixel but one": (cameras._cast, "x + 2 / size[0]", "x + 4 / size[0]", lambda: camera_tests.check_radii("fisheye")),
    "fisheye's series": (cameras._sinc_cos, "q / 20", "q / 24", camera_tests.check_fisheye_centre),
    "fisheye's root at 0": (cameras._sinc_cos, "torch.where(near, 1.0, square)", "square", camera_tests.check_fisheye_centre),
    "a mirror is a pose": (
        poses._check_values,
        "torch.linalg.det(rotation) > 0",
        "torch.linalg.det(rotation) != 0",
        lambda: camera_tests.check_bad_pose("pinhole", *camera_tests.BAD_POSES["mirrored"]),
    ),
    "batches align at the back": (
        arguments.align,
        "(*tensor.shape[:n_batch], *[1] * (len(leading) - n_batch), *tensor.shape[n_batch:])",
        "(*[1] * (len(leading) - n_batch), *tensor.shape)",
        camera_tests.test_batches_align_at_the_front_and_broadcast,
    ),
    "ndc's near plane": (ray.ndc, "near + origins[..., 2]", "near - origins[..., 2]", camera_tests.check_ndc),
    "slabs are open": (
        intersections._slabs,
        "(low <= origins) & (origins <= high)",
        "(low < origins) & (origins < high)",
        lambda: distance_tests.TestIntersections().check_on_a_slab(),
    ),
    "slabs divide by 0": (
        intersections._slabs,
        "directions.where(~parallel, 1.0)",
        "directions",
        lambda: distance_tests.TestIntersections().check_gradients_are_finite(),
    ),
    "first slab entered": (intersections._slabs, "enter.amax(-1)", "enter.amin(-1)", distance_tests.check_box),
    "sphere of a unit direction": (
        ray.intersect_sphere,
        "room.where(hit, 1.0) / square",
        "room.where(hit, 1.0)",
        distance_tests.check_sphere,
    ),
    "sphere's root of a miss": (
        ray.intersect_sphere,
        "room.where(hit, 1.0)",
        "room",
        lambda: distance_tests.TestIntersections().check_gradients_are_finite(),
    ),
    "box turned the wrong way": (ray.intersect_oriented_box, "rotation.mT", "rotation", distance_tests.check_oriented_box),
    "strata of whole intervals": (
        ray.intervals,
        "(place + 0.5).clamp_max(n_samples)",
        "(place + 1).clamp_max(n_samples)",
        lambda: distance_tests.TestIntervals().check_strata(),
    ),
    "one jitter for all": (
        stratify,
        'n if jitter == "sample" else 1',
        "1",
        lambda: distance_tests.TestIntervals().check_strata(),
    ),
    "disparity of the ends": (
        ray.intervals,
        "(1 - inner) * forward(low)",
        "(1 - inner) * low",
        lambda: distance_tests.check_spacing("disparity"),
    ),
    "contracted too far": (ray.contract, "2 - 1 / length", "1.99 - 0.99 / length", lambda: distance_tests.check_contract("l2")),
    "contraction's root at 0": (
        contraction._length,
        "torch.maximum(square, scale**-2).sqrt()",
        "square.sqrt().clamp_min(1)",
        lambda: distance_tests.TestContraction().check_at_zero_and_one(),
    ),
    "not contracted back": (ray.uncontract, "length * (2 - length)", "2 - length", lambda: distance_tests.check_contract("linf")),
    "Jacobian transposed": (
        ray.push_forward,
        "columns.movedim(0, -1)",
        "columns.movedim(0, -2)",
        distance_tests.check_push_forward,
    ),
    "an absolute epsilon": (
        resampling._cumulate,
        "weights / largest.where(largest > 0, 1.0)",
        "weights + 1e-5",
        lambda: resample_tests.check_distribution(),
    ),
    "sums overflow": (
        resampling._cumulate,
        "weights / largest.where(largest > 0, 1.0)",
        "weights",
        lambda: resample_tests.check_distribution("peaked, sum beyond float32"),
    ),
    "no centre of strata": (stratify, "0.5", "0.0", lambda: resample_tests.check_multinerf(False)),
    "empty rays in the last bin": (
        resampling._cumulate,
        "1.0), widths)",
        "1.0), 0 * widths + torch.eye(widths.shape[-1])[-1].to(widths))",
        lambda: resample_tests.TestFaultsOfOthers().check_empty_rays(),
    ),
    "empty rays by the bin": (
        resampling._cumulate,
        "1.0), widths)",
        "1.0), 1.0)",
        lambda: resample_tests.TestFaultsOfOthers().check_empty_rays(),
    ),
    "left of the gap": (
        resampling._invert,
        "right=True",
        "right=False",
        lambda: (
            resample_tests.TestFaultsOfOthers().check_empty_rays() or resample_tests.TestPercentile().test_ends_are_those_of_the_weight()
        ),
    ),
    "samples at left edges": (
        resampling._invert,
        ".clamp(0, 1)\n",
        ".clamp(0, 1).floor()\n",
        lambda: resample_tests.check_multinerf(False),
    ),
    "gradient into weights": (
        ray.resample,
        "weights.detach() if isinstance(weights, Tensor) else weights",
        "weights",
        lambda: resample_tests.TestFaultsOfOthers().check_detached(),
    ),
    "ends not reflected": (
        ray.resample,
        "2 * samples[..., :1] - middle[..., :1]",
        "samples[..., :1]",
        lambda: resample_tests.check_multinerf(True),
    ),
    "ends not clamped": (
        ray.resample,
        "torch.minimum(2 * samples[..., -1:] - middle[..., -1:], edges[..., -1:])",
        "2 * samples[..., -1:] - middle[..., -1:]",
        lambda: resample_tests.check_multinerf(True, 2),
    ),
    "blur of one side": (ray.blur, "padded[..., 1:] + padded[..., :-1]", "padded[..., 1:] + padded[..., 1:]", resample_tests.check_blur),
    "annealed nothing": (ray.anneal, "(power == 0).to(weights)", "weights * 0 + 1", lambda: resample_tests.TestWeights().check_anneal()),
    "percentile of the sum": (resampling._cumulate, "total / total[..., -1:]", "total", resample_tests.check_percentile),
    "rounding in an empty bin": (
        resampling._cumulate,
        "total.where(shares > 0, 0.0).cummax(-1).values",
        "total",
        resample_tests.check_parallel_scan,
    ),
    "density without lengths": (
        weights._exponent,
        "return density * backward",
        "return -density",
        lambda: weight_tests.check_density((5,)),
    ),
    "alpha loses its digits": (
        ts.render.weights_from_density,
        "exponent.expm1()",
        "(exponent.exp() - 1)",
        lambda: weight_tests.test_no_epsilon(torch.float32),
    ),
    "an epsilon in the product": (weights._passing, "1 - alpha", "1 + 1e-7 - alpha", lambda: weight_tests.test_no_epsilon(torch.float32)),
    "infinite times zero": (
        weights._exponent,
        "return _multiply(density, backward)",
        "return density * backward",
        lambda: weight_tests.test_opaque_background(False),
    ),
    "NaN gradients of infinite densities": (
        weights._multiply,
        "density.masked_fill(infinite, 0) * backward.masked_fill(infinite, 0)",
        "density * backward",
        lambda: weight_tests.test_infinite_density_is_opaque(True),
    ),
    "infinite densities pass as finite": (
        weights._all_finite,
        "most < torch.inf and longest > -torch.inf",
        "True",
        lambda: weight_tests.test_opaque_background(True),
    ),
    "NaN densities pass": (weights._all_finite, "not least >= 0", "least < 0", lambda: weight_tests.check_refused("nan")),
    "light that reaches the end": (rays.Batched.exclusive_sum, "shift(values, 0.0)", "values", lambda: weight_tests.check_density((5,))),
    "a product with itself": (rays.Batched.exclusive_prod, "shift(values, 1.0)", "values", weight_tests.check_alpha),
    "gradients by division": (
        rays.Batched.exclusive_prod,
        "return values.cumprod(-1)",
        "return values.cumprod(-1) / values.clamp(min=1e-10)",
        weight_tests.check_alpha_gradients,
    ),
    "alpha that overwrites what its gradient needs": (
        ts.render.alpha_from_density,
        "return -_exponent(function, density, edges, rays, check).expm1()",
        "return _exponent(function, density, edges, rays, check).expm1().neg_()",
        weight_tests.check_thin_gradients,
    ),
    "derivatives of derivatives by cumprod": (
        rays.Batched.exclusive_prod,
        "is_transformed(values) or forward_ad._current_level >= 0",
        "False",
        weight_tests.check_mixed_derivatives,
    ),
    "packed sums in float32": (rays.Packed.total, "torch.float64", "torch.float32", packed_tests.check_sum_of_a_long_ray),
    "intervals before a proposal are covered": (
        losses._cover,
        "(end <= start) & (first >= 0)",
        "torch.ones_like(first, dtype=torch.bool)",
        loss_tests.check_interlevel_outside,
    ),
    "what is behind as a difference": (
        rays.Batched.sum_behind,
        "values.flip(-1).cumsum(-1).flip(-1)",
        "values.sum(-1, keepdim=True) - self.exclusive_sum(values)",
        loss_tests.check_distortion_of_long_steps,
    ),
    "doubling one step short": (rays.Packed._scan, "step < longest - 1", "2 * step < longest - 1", packed_tests.check_density),
    "rays run into each other": (rays.Packed._scan, "position[step:] >= step", "position[step:] >= 0", packed_tests.check_density),
    "packed products start with zero": (rays.Packed._scan, "identity)\n", "0.0)\n", packed_tests.check_alpha),
    "packed samples shifted": (
        rays.Packed.starts,
        "torch.arange(self.n_rays,",
        "torch.arange(1, self.n_rays + 1,",
        packed_tests.check_density,
    ),
    "the first sample is the last": (
        rays.Packed.last,
        "(0, 1), value=True)",
        "(1, 0), value=True)",
        lambda: packed_tests.check_composite("last"),
    ),
    "median of another sample": (
        rays.Packed.find,
        "self.starts() + below",
        "self.starts() + below - 1",
        lambda: packed_tests.check_composite(None),
    ),
    "median at the sample's start": (ts.render.median_depth, "last - share * (last - first)", "first", composite_tests.check_composite),
    "median of all light": (ts.render.median_depth, "opacity / 2", "0.5 * torch.ones_like(opacity)", composite_tests.check_composite),
    "depth not divided by opacity": (depth.expected_depth, "/ opacity.masked_fill(empty, 1)", "", composite_tests.check_composite),
    "empty rays divided by": (
        depth.expected_depth,
        "opacity.masked_fill(empty, 1)",
        "opacity",
        lambda: composite_tests.test_empty_rays_have_a_depth(0.0),
    ),
    "nearly empty rays divided by": (
        depth._nothing,
        "limits.tiny / limits.eps",
        "0.0",
        lambda: composite_tests.test_empty_rays_have_a_depth(1e-45),
    ),
    "background through everything": (ts.render.composite, "(1 - opacity)", "torch.ones_like(opacity)", composite_tests.check_composite),
    "endless samples": (
        rays.close,
        "edges[..., -2:-1], edges[..., -1:])",
        "edges[..., -1:], edges[..., -1:])",
        lambda: weight_tests.test_opaque_background(True),
    ),
    "gradients of values by the wrong samples": (
        weighted_sum._Product.backward.__wrapped__,
        "grad.unsqueeze(-1) * weights.unsqueeze(-2)",
        "grad.unsqueeze(-1) * weights.flip(-1).unsqueeze(-2)",
        lambda: composite_tests.check_weighted_sum(4),
    ),
    "sums in few bits": (weighted_sum._gains, "not torch.is_autocast_enabled(CPU)", "True", composite_tests.check_precision),
    "stopped one sample early": (
        ts.render.visible,
        "rays.exclusive_prod(1 - alpha)",
        "rays.exclusive_prod(1 - alpha) * (1 - alpha)",
        composite_tests.check_visible,
    ),
    "disorder is not noticed": (
        rays.check_ray_indices,
        "ray_indices[1:] < ray_indices[:-1]",
        "ray_indices[1:] != ray_indices[1:]",
        lambda: packed_tests.check_refused("unsorted"),
    ),
    "packed by column": (
        samples.pack,
        "flat.nonzero()[:, 0]",
        "flat.nonzero()[:, 0].sort(descending=True).values",
        lambda: packed_tests.check_pack((5,)),
    ),
    "unpacked over each other": (samples.unpack, "ray_indices * longest + position", "ray_indices * longest", packed_tests.check_unpack),
    "distortion without its own length": (losses.distortion_loss, "/ 3", "/ 4", lambda: loss_tests.check_distortion((4,))),
    "pairs counted once": (losses.distortion_loss, "2 * middle", "middle", lambda: loss_tests.check_distortion((4,))),
    "distortion between rays": (
        rays.Packed.sum_behind,
        "self.n_rays - 1 - self.owner.flip(0)",
        "torch.zeros_like(self.owner)",
        loss_tests.check_packed_distortion,
    ),
    "touching counts as overlap": (
        losses._cover,
        "torch.searchsorted(outer_edges, end)",
        "torch.searchsorted(outer_edges, end, right=True)",
        lambda: loss_tests.check_interlevel((20,)),
    ),
    "overlap on the left forgotten": (losses._cover, "right=True) - 1", "right=True)", lambda: loss_tests.check_interlevel((20,))),
    "interlevel teaches the field": (
        losses.interlevel_loss,
        "weights, edges = weights.detach()",
        "weights, edges = weights",
        loss_tests.test_interlevel_teaches_the_proposal_only,
    ),
    "axes of the grid exchanged": (GRID.occupied, "coords.reshape(1,", "coords.flip(-1).reshape(1,", occupancy_tests.check_occupied),
    "cells numbered in another order": (
        GRID.update.__wrapped__,
        "axis_indices(cells, self.size)",
        "reversed(axis_indices(cells, self.size[::-1]))",
        occupancy_tests.check_update_all,
    ),
    "always the centre of a cell": (
        GRID.update.__wrapped__,
        "torch.rand(corners.shape, device=device, generator=generator)",
        "0.5",
        occupancy_tests.check_update_all,
    ),
    "nothing is forgotten": (GRID.update.__wrapped__, "self.decay * density[cells]", "density[cells]", occupancy_tests.check_average),
    "the new alone": (
        GRID.update.__wrapped__,
        "torch.maximum(self.decay * density[cells], found.flatten().to(density.dtype))",
        "found.flatten()",
        occupancy_tests.check_average,
    ),
    "threshold above the mean": (
        GRID.update.__wrapped__,
        "torch.minimum(self.density.mean(), self.density.max()).clamp(max=self.threshold)",
        "self.threshold",
        occupancy_tests.test_fog_and_nothing,
    ),
    "occupied cells not looked at": (GRID._choose, "torch.cat([anywhere, there])", "anywhere", occupancy_tests.check_later_updates),
    "only occupied cells looked at": (GRID._choose, "torch.cat([anywhere, there])", "there", occupancy_tests.check_later_updates),
    "parallel rays miss": (
        occupancy._inside_box,
        "leave.masked_fill(leave.isnan(), torch.inf)",
        "leave",
        occupancy_tests.test_rays_in_a_face,
    ),
    "steps beyond the far end": (
        occupancy._steps,
        "torch.where(at_end, length.unsqueeze(-1), (number * step).clamp(min=0))",
        "(number * step).clamp(min=0)",
        occupancy_tests.check_samples,
    ),
    "slivers at the end": (occupancy._steps, "- 1e-3", "", occupancy_tests.test_no_slivers),
    "looked up at the start of samples": (GRID.sample.__wrapped__, "((start + end) / 2)", "start", occupancy_tests.check_samples),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_suite_notices(name, monkeypatch):
    check_is_noticed(CASES[name], monkeypatch)
