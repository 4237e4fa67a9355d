"""What Triton makes of the kernels for devices that need not be here: machine code without spills, wide loads, and positions as defined.

The host's own code launches into a recorder on tensors of the CPU, so that what is compiled is what a device would be given.
"""

import re
import subprocess

import pytest
import torch

triton = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("Triton only interprets in this process", allow_module_level=True)

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from torchsample.interpolation import triton_kernels, triton_launch  # noqa: E402

TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.int32: "*i32"}
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
KERNELS = ("interpolate_kernel", "slopes_kernel", "scatter_kernel", "plan_kernel", "gather_kernel")
CASES = [
    (80, 1, "linear", torch.float32, 64),
    (80, 2, "nearest", torch.float32, 64),
    (80, 2, "linear", torch.float32, 3),
    (80, 2, "linear", torch.bfloat16, 256),
    (80, 3, "linear", torch.float32, 64),
    (80, 3, "cubic", torch.float32, 64),
    (90, 2, "linear", torch.float32, 64),
    (90, 2, "cubic", torch.bfloat16, 64),
    (90, 3, "cubic", torch.float32, 200),
    (90, 3, "cubic", torch.bfloat16, 128),
]


class Recorder:
    def __init__(self, kernel, calls):
        self.kernel, self.calls = kernel, calls

    def __getitem__(self, grid):
        def launch(*args, **constants):
            names = [name for name in self.kernel.arg_names if name not in constants]
            self.calls.append((self.kernel, dict(zip(names, args, strict=True)), constants))

        return launch


def describe(value, path, signature, attributes, constants):
    """Add an argument as Triton would specialize for it; returns its type."""
    if isinstance(value, tuple):
        return tuple(describe(item, (*path, place), signature, attributes, constants) for place, item in enumerate(value))
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, int) and value == 1:
        constants[path] = 1
        return "constexpr"
    if (value.data_ptr() if isinstance(value, torch.Tensor) else value) % 16 == 0:
        attributes[path] = [["tt.divisibility", 16]]
    return TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32" if value < 2**31 else "i64"


def compile_call(kernel, arguments, constants, capability):
    constants = dict(constants)
    options = {"enable_fp_fusion": constants.pop("enable_fp_fusion")}
    signature, attributes, values = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name], values[name] = "constexpr", constants[name]
        else:
            signature[name] = describe(arguments[name], (place,), signature, attributes, values)
    source = ASTSource(kernel, signature, constexprs=values, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def record(monkeypatch, rank, mode, dtype, channels):
    """All launches for points in a channels-last map: values, slopes, and the two ways to scatter."""
    calls = []
    for name in KERNELS:
        monkeypatch.setattr(triton_kernels, name, Recorder(getattr(triton_kernels, name), calls))
    rule = triton_launch.Rule(TAPS[mode], -0.75, [2, 0, 3][:rank], False)
    coords, owner, size = torch.zeros(2, 40, rank), torch.arange(2).unsqueeze(1), (20, 18, 17)[:rank]
    featmap = torch.zeros(2, *size[::-1], channels, dtype=dtype).movedim(-1, 1)
    values = triton_launch.interpolate(coords, featmap, owner, rule, 0.0)
    triton_launch.slopes(values, coords, featmap, owner, rule)
    triton_launch.scatter(coords, values, owner, 2, size, rule)
    torch.use_deterministic_algorithms(True)
    triton_launch.scatter(coords, values, owner, 2, size, rule)
    torch.use_deterministic_algorithms(False)
    return {kernel.__name__: (kernel, arguments, constants) for kernel, arguments, constants in calls}


def registers_and_spills(cubin, path):
    path.write_bytes(cubin)
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(path)]
    usage = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK", "LOCAL"))


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "rank", "mode", "dtype", "channels"), CASES)
def test_kernels_compile_without_spills(monkeypatch, tmp_path, capability, rank, mode, dtype, channels):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    calls = record(monkeypatch, rank, mode, dtype, channels)
    assert set(calls) == set(KERNELS) - ({"slopes_kernel"} if mode == "nearest" else set())
    for name, call in calls.items():
        if name == "gather_kernel" and mode != "linear":
            continue
        compiled = compile_call(*call, capability)
        registers, stack, local = registers_and_spills(compiled.asm["cubin"], tmp_path / "kernel.cubin")
        print(f"sm_{capability} {rank}-D {mode} {dtype} {channels} channels, {name}: {registers} registers, {stack + local} bytes spilled")
        assert (stack, local) == (0, 0)
        assert registers <= 168


def test_positions_are_not_fused(monkeypatch, tmp_path):
    """A product and a sum in one operation would round once where the definition rounds twice, and move points across ties."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, arguments, constants = record(monkeypatch, 2, "nearest", torch.float32, 64)["interpolate_kernel"]
    constants["rule"] = (2, 1, 1, 1, 0.0, 0, 0, 1, 1)
    as_launched = compile_call(kernel, arguments, constants, 80).asm["ptx"].count("fma.rn")
    fused = compile_call(kernel, arguments, constants | {"enable_fp_fusion": True}, 80).asm["ptx"].count("fma.rn")
    # What is left are the explicit ones: each of a thread's eight values.
    assert as_launched == 8 < fused


def test_lines_of_channels_are_read_at_full_width(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    calls = record(monkeypatch, 2, "linear", torch.float32, 64)
    # Two per thread for each of four taps; in half of the block, one for each, and one for the incoming gradient.
    for name, wide in (("interpolate_kernel", 8), ("slopes_kernel", 5)):
        assert compile_call(*calls[name], 90).asm["ptx"].count("ld.global.v4.b32") == wide, name
