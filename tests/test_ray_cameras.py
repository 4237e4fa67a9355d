"""Cameras: a point of a ray, projected back by the textbook's formulas in NumPy, is where the ray was cast through."""

import math
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
from torchsample import ray

SIZE = (40, 30)
K = torch.tensor([[35.0, 0.0, 18.0], [0.0, 32.0, 16.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
SKEWED = K + torch.tensor([[0.0, 2.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
CONVENTIONS = {"opencv": np.diag([1.0, 1.0, 1.0]), "opengl": np.diag([1.0, -1.0, -1.0])}
CAMERAS = {
    "pinhole": lambda coords, pose, convention: ray.pinhole(coords, pose, SIZE, SKEWED.to(pose), convention=convention),
    "raw pinhole": lambda coords, pose, convention: ray.pinhole(coords, pose, SIZE, fov=1.2, convention=convention, unit=False),
    "orthographic": lambda coords, pose, convention: ray.orthographic(coords, pose, SIZE, 3.0, convention),
    "equirectangular": lambda coords, pose, convention: ray.equirectangular(coords, pose, SIZE, convention),
    "fisheye": lambda coords, pose, convention: ray.fisheye(coords, pose, SIZE, SKEWED.to(pose), convention=convention),
    "wide fisheye": lambda coords, pose, convention: ray.fisheye(coords, pose, SIZE, fov=4.0, convention=convention),
}
CAMERA = pytest.mark.parametrize("name", CAMERAS)
CONVENTION = pytest.mark.parametrize("convention", CONVENTIONS)


def random_poses(*batch, rows=4, dtype=torch.float64):
    rotation, _ = torch.linalg.qr(torch.randn(*batch, 3, 3, dtype=dtype))
    rotation = rotation * torch.linalg.det(rotation).sign()[..., None, None]
    pose = torch.zeros(*batch, 4, 4, dtype=dtype)
    pose[..., :3, :3], pose[..., :3, 3], pose[..., 3, 3] = rotation, torch.randn(*batch, 3, dtype=dtype), 1.0
    return pose[..., :rows, :]


def random_coords(*shape, dtype=torch.float64):
    return torch.rand(*shape, 2, dtype=dtype) * 1.9 - 0.95


def project(name, points, pose, convention):
    """Pixel positions of world points, where pixel i reaches from i to i + 1; one point at a time, in NumPy."""
    w, h = SIZE
    result = []
    for point in points:
        x, y, z = CONVENTIONS[convention] @ (np.linalg.inv(pose) @ [*point, 1.0])[:3]
        angle = math.atan2(math.hypot(x, y), z)
        if name == "pinhole":
            u, v, _ = SKEWED.numpy() @ [x / z, y / z, 1.0]
        elif name == "raw pinhole":
            focal = w / 2 / math.tan(0.6)
            u, v = w / 2 + focal * x / z, h / 2 + focal * y / z
        elif name == "orthographic":
            u, v = w / 2 + x * w / 3.0, h / 2 + y * w / 3.0
        elif name == "equirectangular":
            u, v = (math.atan2(x, z) / math.pi + 1) * w / 2, (math.atan2(y, math.hypot(x, z)) / (math.pi / 2) + 1) * h / 2
        else:
            matrix = SKEWED.numpy() if name == "fisheye" else np.array([[w / 4.0, 0, w / 2], [0, w / 4.0, h / 2], [0, 0, 1]])
            u, v, _ = matrix @ [angle * x / math.hypot(x, y), angle * y / math.hypot(x, y), 1.0]
        result.append([u, v])
    return np.array(result)


def check_projection(name, convention="opengl", rows=4):
    """Each point at some distance along each ray is seen where the ray was cast through, by its own camera of a batch."""
    poses, coords = random_poses(2, rows=4), random_coords(2, 3, 5)
    rays = CAMERAS[name](coords, poses[:, :rows], convention)
    assert rays.origins.shape == rays.directions.shape == (2, 3, 5, 3)
    points = rays.origins + (torch.rand(2, 3, 5, 1, dtype=torch.float64) + 0.5) * rays.directions
    for pose, seen, wanted in zip(poses.numpy(), points.flatten(1, 2).numpy(), coords.flatten(1, 2).numpy(), strict=True):
        pixels = project(name, seen, pose, convention)
        np.testing.assert_allclose(pixels, (wanted + 1) / 2 * SIZE, rtol=0, atol=1e-9)


@CAMERA
@CONVENTION
@pytest.mark.parametrize("rows", [3, 4])
def test_points_are_seen_where_their_ray_was_cast(name, convention, rows):
    check_projection(name, convention, rows)


def test_the_middle_of_the_image_looks_ahead():
    for name in CAMERAS:
        for convention, ahead in (("opengl", -1.0), ("opencv", 1.0)):
            if name not in ("pinhole", "fisheye"):
                rays = CAMERAS[name](torch.zeros(1, 2), torch.eye(4), convention)
                assert_close(rays.directions, torch.tensor([[0.0, 0.0, ahead]]))


def check_pixel_centres():
    """Pixel i is seen at i + 0.5: the half pixel that nerf-pytorch's `get_rays` leaves out."""
    rays = ray.pinhole(ts.coord.full.nobatch(SIZE).double(), torch.eye(4), SIZE, K, unit=False)
    for i in (0, 7, 39):
        for j in (0, 5, 29):
            wanted = torch.tensor([(i + 0.5 - 18.0) / 35.0, -(j + 0.5 - 16.5) / 32.0, -1.0], dtype=torch.float64)
            assert_close(rays.directions[j, i], wanted)
            without_half = torch.tensor([(i - 18.0) / 35.0, -(j - 16.5) / 32.0, -1.0], dtype=torch.float64)
            assert (rays.directions[j, i] - without_half).abs().max() > 0.01


def test_pixel_centres_are_at_half():
    check_pixel_centres()


@CAMERA
def test_directions_have_unit_length(name):
    rays = CAMERAS[name](random_coords(2, 50), random_poses(2), "opengl")
    length = rays.directions.norm(dim=-1)
    if name == "raw pinhole":
        assert (length > 1).all()
    else:
        assert_close(length, torch.ones_like(length))


def test_raw_directions_reach_depth_one():
    pose = random_poses(2)
    rays = ray.pinhole(random_coords(2, 9), pose, SIZE, K, unit=False)
    depth = (rays.directions * -pose[:, None, :3, 2]).sum(-1)
    assert_close(depth, torch.ones_like(depth))
    unit = ray.pinhole(random_coords(2, 9), pose, SIZE, K)
    assert not torch.allclose((unit.directions * -pose[:, None, :3, 2]).sum(-1), depth)


def check_radii(name):
    """Mip-NeRF's: the mean of the distances to the right and lower neighbours on the grid of pixels, times 2 / sqrt(12)."""
    rays = CAMERAS[name](ts.coord.full(2, SIZE, dtype=torch.float64), random_poses(2), "opengl")
    of = (rays.origins if name == "orthographic" else rays.directions).numpy()
    dx = np.linalg.norm(of[:, :-1, 1:] - of[:, :-1, :-1], axis=-1)
    dy = np.linalg.norm(of[:, 1:, :-1] - of[:, :-1, :-1], axis=-1)
    np.testing.assert_allclose(rays.radii[:, :-1, :-1, 0], 0.5 * (dx + dy) * 2 / np.sqrt(12), rtol=1e-9)


@CAMERA
def test_radii_are_those_of_mip_nerf(name):
    check_radii(name)
    assert CAMERAS[name](random_coords(3, 1), random_poses(3), "opencv").radii.shape == (3, 1, 1)


def test_batches_align_at_the_front_and_broadcast():
    pose, coords = random_poses(2), random_coords(2, 2, 2)
    rays = ray.pinhole(coords, pose, SIZE, torch.stack([K, SKEWED]))
    for i, matrix in enumerate((K, SKEWED)):
        single = ray.pinhole(coords[i], pose[i], SIZE, matrix)
        for together, alone in zip(rays, single, strict=True):
            assert_close(together[i], alone)
    # Many poses and one grid; one pose and many grids; one ray of each of many poses.
    assert ray.pinhole(coords[:1], random_poses(5), SIZE, K).origins.shape == (5, 2, 2, 3)
    assert ray.pinhole(coords, pose[0], SIZE, K).directions.shape == (2, 2, 2, 3)
    assert ray.pinhole(coords, pose[:1], SIZE, K).radii.shape == (2, 2, 2, 1)
    assert ray.fisheye(coords[:1], pose[:1], SIZE, fov=torch.tensor([0.5, 0.6, 0.7])).directions.shape == (3, 2, 2, 3)
    assert ray.orthographic(coords[:1], pose[:1], SIZE, torch.tensor([0.5, 0.6, 0.7])).radii.shape == (3, 2, 2, 1)
    flat = ray.pinhole(random_coords(7), random_poses(7), SIZE, fov=torch.rand(7) + 0.5)
    assert flat.directions.shape == (7, 3)
    assert ray.pinhole(torch.zeros(2), torch.eye(4), SIZE, fov=1.0).directions.shape == (3,)


def test_field_of_view_is_the_horizontal_one():
    fov = torch.tensor([0.7, 2.0], dtype=torch.float64)
    edges = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).expand(2, 2, 2)
    for camera in (ray.pinhole, ray.fisheye):
        left, right = camera(edges, torch.eye(4), SIZE, fov=fov).directions.unbind(1)
        assert_close((left * right).sum(-1), fov.cos())


@CAMERA
def test_gradients(name):
    pose, coords = random_poses(2), random_coords(2, 3).requires_grad_()

    def cast(coords, angle, shift):
        cos, sin, one = angle.cos(), angle.sin(), torch.ones_like(angle)
        turn = torch.stack([cos, -sin, 0 * one, sin, cos, 0 * one, 0 * one, 0 * one, one]).reshape(3, 3)
        moved = torch.cat([pose[:, :3, :3] @ turn, (pose[:, :3, 3] + shift).unsqueeze(-1)], dim=-1)
        return tuple(CAMERAS[name](coords, moved, "opengl"))

    angle, shift = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cast, (coords, angle, shift))
    if name != "orthographic":  # where all is linear
        assert torch.autograd.gradgradcheck(lambda c: CAMERAS[name](c, pose, "opengl").directions, (coords,))


def test_gradients_by_intrinsics():
    coords, pose, matrix = random_coords(2, 3), random_poses(2), SKEWED.clone().requires_grad_()
    mask = torch.triu(torch.ones(3, 3, dtype=torch.float64)) * (torch.arange(9).reshape(3, 3) < 8)
    for camera in (ray.pinhole, ray.fisheye):
        fixed = SKEWED * ~mask.bool()
        assert torch.autograd.gradcheck(lambda m, c=camera, f=fixed: c(coords, pose, SIZE, m * mask + f).directions, (matrix,))
        fov = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda f, c=camera: tuple(c(coords, pose, SIZE, fov=f)), (fov,))


def check_fisheye_centre():
    """In the very middle the angle is 0, and has no derivative of its own; near it the series joins the functions."""
    coords = torch.tensor([[0.0, 0.0], [1e-9, 0.0], [0.04999, 0.0], [0.05001, 0.0]], dtype=torch.float64, requires_grad=True)

    def look(coords):
        return ray.fisheye(coords, torch.eye(4), SIZE, fov=4.0).directions

    angle = 2 * coords.detach()[:, 0]
    assert_close(look(coords), torch.stack([angle.sin(), 0 * angle, -angle.cos()], dim=-1), rtol=1e-15, atol=1e-15)
    assert torch.autograd.gradcheck(look, (coords,))
    assert torch.autograd.gradgradcheck(look, (coords,))


def test_fisheye_is_smooth_in_the_middle():
    check_fisheye_centre()


def test_dtypes():
    pose = torch.eye(4)
    for coords, wanted in ((torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        rays = ray.pinhole(torch.zeros(1, 2, dtype=coords), pose, SIZE, K)
        assert {part.dtype for part in rays} == {wanted}
    assert ray.orthographic(torch.zeros(1, 2), pose.double(), SIZE, 1).origins.dtype == torch.float64
    assert ray.pinhole(torch.zeros(0, 5, 2), pose, SIZE, K).directions.shape == (0, 5, 3)


BAD_POSES = {
    "scaled": (torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])), "scale"),
    "mirrored": (torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])), "det R = 1"),
    "sheared": (torch.eye(4) + torch.tensor([[0.0, 0.1, 0.0, 0.0], *[[0.0] * 4] * 3]), "rotation"),
    "transposed": (torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]]), "fourth row 0 0 0 1"),
    "not a number": (torch.full((4, 4), math.nan), "rotation"),
    "nowhere": (torch.eye(4) + torch.tensor([[0.0, 0.0, 0.0, math.inf], *[[0.0] * 4] * 3]), "translation"),
    "zero": (torch.zeros(3, 4), "rotation"),
}


def check_bad_pose(camera, pose, word):
    try:
        CAMERAS[camera](torch.zeros(1, 2), pose, "opengl")
        said = "nothing"
    except ValueError as error:
        said = str(error)
    assert re.match(r"ts\.ray\.\w+: `pose` must be a rotation", said)
    assert word in said


@pytest.mark.parametrize("bad", BAD_POSES)
@CAMERA
def test_a_pose_that_is_no_rotation_is_named(name, bad):
    check_bad_pose(name, *BAD_POSES[bad])


def test_the_bad_pose_of_many_is_named():
    poses = random_poses(4, dtype=torch.float32)
    poses[2, :3, :3] *= 1.1
    with pytest.raises(ValueError, match="for pose 2, where"):
        ray.pinhole(torch.zeros(4, 1, 2), poses, SIZE, fov=1.0)
    rounded = (random_poses(50, dtype=torch.float32) * 1000).round() / 1000
    ray.pinhole(torch.zeros(50, 1, 2), rounded, SIZE, fov=1.0)


X, EYE = torch.zeros(1, 2), torch.eye(4)
ERRORS = {
    "no model": (lambda: ray.pinhole(X, EYE, SIZE), ValueError, "intrinsics", "field of view"),
    "two models": (lambda: ray.pinhole(X, EYE, SIZE, K, 1.0), ValueError, "intrinsics", "field of view"),
    "degrees": (lambda: ray.pinhole(X, EYE, SIZE, fov=60.0), ValueError, "fov", "radians"),
    "fov as text": (lambda: ray.pinhole(X, EYE, SIZE, fov="60"), TypeError, "fov", "float"),
    "wide fisheye": (lambda: ray.fisheye(X, EYE, SIZE, fov=7.0), ValueError, "fov", "radians"),
    "transposed K": (lambda: ray.pinhole(X, EYE, SIZE, K.mT), ValueError, "intrinsics", "transposed"),
    "negative focal": (lambda: ray.pinhole(X, EYE, SIZE, -K), ValueError, "intrinsics", "convention"),
    "K of 4": (lambda: ray.fisheye(X, EYE, SIZE, EYE), ValueError, "intrinsics", "fx"),
    "integer K": (lambda: ray.fisheye(X, EYE, SIZE, K.long()), TypeError, "intrinsics", "floating-point"),
    "convention": (lambda: ray.pinhole(X, EYE, SIZE, K, convention="blender"), ValueError, "convention", "'opengl', 'opencv'"),
    "unit": (lambda: ray.pinhole(X, EYE, SIZE, K, unit=1), TypeError, "unit", "bool"),
    "size": (lambda: ray.equirectangular(X, EYE, (4, 4, 4)), ValueError, "size", "(w, h)"),
    "coords": (lambda: ray.equirectangular(torch.zeros(1, 3), EYE, SIZE), ValueError, "coords", "(..., 2)"),
    "integer coords": (lambda: ray.equirectangular(X.long(), EYE, SIZE), TypeError, "coords", "ts.coord.normalize"),
    "pose": (lambda: ray.equirectangular(X, torch.eye(3), SIZE), ValueError, "pose", "(*batch, 3, 4)"),
    "integer pose": (lambda: ray.equirectangular(X, EYE.long(), SIZE), TypeError, "pose", "floating-point"),
    "poses": (lambda: ray.equirectangular(torch.zeros(2, 1, 2), EYE.expand(3, 4, 4), SIZE), ValueError, "pose", "unsqueeze(0)"),
    "poses, no batch": (lambda: ray.equirectangular(X, EYE.expand(3, 1, 4, 4), SIZE), ValueError, "pose", "unsqueeze(0)"),
    "devices": (lambda: ray.equirectangular(X, EYE.to("meta"), SIZE), ValueError, "pose", ".to(device)"),
    "width": (lambda: ray.orthographic(X, EYE, SIZE, 0.0), ValueError, "width", "positive"),
    "ndc, size": (lambda: ray.ndc(-EYE[2, :3], -EYE[2, :3], (4,), 1.0), ValueError, "size", "(w, h)"),
    "ndc, backwards": (lambda: ray.ndc(EYE[2, :3], EYE[2, :3], (4, 4), 1.0), ValueError, "directions", "along -z"),
    "ndc, near": (lambda: ray.ndc(EYE[2, :3], -EYE[2, :3], (4, 4), 1.0, 0.0), ValueError, "near", "positive"),
    "ndc, plane": (lambda: ray.ndc(X, X, (4, 4), 1.0), ValueError, "origins", "(x, y, z)"),
    "ndc, shapes": (lambda: ray.ndc(torch.zeros(2, 3), -torch.ones(3, 3), (4, 4), 1.0), ValueError, "origins", "broadcasts"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_argument_and_remedy(case):
    call, kind, argument, words = ERRORS[case]
    with pytest.raises(kind, match=rf"ts\.ray\.\w+: `{argument}` must be .*, got ") as caught:
        call()
    assert words in str(caught.value)


def check_ndc():
    """bmild's formulas, and a projection: the new ray passes through what OpenGL's frustum makes of the old one's points."""
    origins, directions = torch.randn(5, 3, dtype=torch.float64) * 0.2, torch.randn(5, 3, dtype=torch.float64)
    directions[:, 2] = -directions[:, 2].abs() - 0.5
    (w, h), focal, near = SIZE, 25.0, 1.5
    new_origins, new_directions = ray.ndc(origins, directions, SIZE, focal, near)
    for o, d, new_o, new_d in zip(*(part.numpy() for part in (origins, directions, new_origins, new_directions)), strict=True):
        o = o + -(near + o[2]) / d[2] * d
        wanted = [-focal / (w / 2) * o[0] / o[2], -focal / (h / 2) * o[1] / o[2], 1 + 2 * near / o[2]]
        np.testing.assert_allclose(new_o, wanted, atol=1e-12)
        slope = [d[0] / d[2] - o[0] / o[2], d[1] / d[2] - o[1] / o[2]]
        np.testing.assert_allclose(new_d, [-focal / (w / 2) * slope[0], -focal / (h / 2) * slope[1], -2 * near / o[2]], atol=1e-12)
        for t in (0.0, 0.7, 20.0):
            x, y, z = o + t * d
            seen = np.array([focal / (w / 2) * x / -z, focal / (h / 2) * y / -z, 1 + 2 * near / z])
            np.testing.assert_allclose(new_o + (1 - near / -z) * new_d, seen, atol=1e-12)


def test_ndc():
    check_ndc()
    origins = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    directions = (torch.rand(4, 3, dtype=torch.float64) - 1.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda o, d: ray.ndc(o, d, SIZE, 20.0), (origins, directions))
    focal = torch.tensor([20.0, 30.0], dtype=torch.float64)
    both = ray.ndc(origins.reshape(2, 2, 3), directions.reshape(2, 2, 3), SIZE, focal)
    assert_close(both[0][1], ray.ndc(origins[2:], directions[2:], SIZE, 30.0)[0])


@CAMERA
def test_vmap_and_compile(name):
    coords, pose = random_coords(3, 4, dtype=torch.float32), random_poses(3, dtype=torch.float32)
    wanted = CAMERAS[name](coords, pose, "opengl")
    mapped = torch.func.vmap(lambda c, p: tuple(CAMERAS[name](c, p, "opengl")))(coords, pose)
    compiled = torch.compile(lambda c, p: tuple(CAMERAS[name](c, p, "opengl")), fullgraph=True, backend="eager")(coords, pose)
    for one, two, three in zip(wanted, mapped, compiled, strict=True):
        assert_close(two, one)
        assert_close(three, one)


def test_values_are_not_looked_at_under_a_transform():
    """Where numbers are not there, a bad pose cannot be told."""
    found = torch.func.vmap(lambda pose: ray.pinhole(X, pose, SIZE, fov=1.0).directions)(torch.zeros(2, 4, 4))
    assert found.shape == (2, *X.shape[:-1], 3)
    assert not found.any()
