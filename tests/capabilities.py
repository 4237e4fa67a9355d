"""What `ts.sample` does in each combination of mode, padding, rank, dtype and transform: stated here once.

`test_capabilities.py` runs every cell, and the documentation prints this table.
"""

import torch

MODES = ("nearest", "linear", "cubic", "bspline2", "bspline3", "bspline4", "bspline5")
PADDINGS = ("zeros", "border", "reflection", "circular")
RANKS = (1, 2, 3, 4)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
LABELS = (torch.bool, torch.uint8, torch.int32, torch.int64)


def dtype_outcome(mode: str, dtype: torch.dtype) -> str:
    """What a map of a dtype becomes."""
    if dtype in LABELS:
        return "bit-exact" if mode == "nearest" else "TypeError"
    if mode == "nearest":
        return "bit-exact"
    return "summed in float32" if dtype in (torch.float16, torch.bfloat16) else "its own precision"


TRANSFORMS = {
    "backward": (RANKS, "gradcheck, by coords and map"),
    "double backward": (RANKS, "gradgradcheck"),
    "jvp": (RANKS, "gradcheck in forward mode"),
    "vmap": (RANKS, "over coords, maps and both"),
    "jacrev, jacfwd": (RANKS, "agree"),
    "hessian": (RANKS, "forward over reverse agrees with double backward"),
    "compile": ((1, 3), "one graph, dynamic sizes; prefilter inside of it at rank 1"),
    "export": ((2,), "dynamic batch and points"),
    "ONNX": ((2,), "standard operators, run by onnxruntime"),
}
"""Each transform: the ranks at which every mode and padding is run, and how."""

ONNX_SPLINES = ("bspline3",)
"""The splines that are exported to ONNX in the tests; one takes seconds, and the others differ in numbers only."""


def is_run(mode: str, rank: int, transform: str) -> bool:
    """Whether the tests run a cell."""
    if transform == "ONNX" and mode.startswith("bspline") and mode not in ONNX_SPLINES:
        return False
    return rank in TRANSFORMS[transform][0]
