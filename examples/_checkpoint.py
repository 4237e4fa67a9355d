"""Checkpoints that are used only after every byte and every field of them was checked.

A checkpoint is what `torch.save` makes of some fields, followed by the SHA-256 of those bytes: PyTorch's own reader does not notice a
flipped bit in a weight. What is wrong with a checkpoint ends the program with one line that names the file, the reason and the remedy.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from _files import write_beside

MARK = b"\nsha256 "
"""What stands between the contents of a checkpoint and their checksum, which has 64 digits."""
FIELDS = {"model": dict, "optimizer": dict, "settings": dict, "step": int, "spent": float}
"""What `Trainer` saves: weights, Adam's state, what the run depends on, the number of steps and the seconds that they took."""
PLAIN = str, int, float, bool, type(None)
Net = TypeVar("Net", bound=nn.Module)


def unusable(path: Path, reason: str) -> SystemExit:
    """The end of a program whose checkpoint is not what it should be."""
    return SystemExit(f"error: cannot use the checkpoint {path}: {reason}. Remove it, or train with --restart.")


def write_checkpoint(path: Path, fields: dict[str, Any]) -> None:
    """Save fields and their checksum."""
    buffer = io.BytesIO()
    torch.save(fields, buffer)
    data = buffer.getvalue()
    write_beside(path, lambda partial: partial.write_bytes(data + MARK + _checksum(data)))


def read_checkpoint(path: Path, program: str) -> dict[str, Any]:
    """The fields of a checkpoint of a program."""
    try:
        data = _verified(path)
    except FileNotFoundError:
        raise SystemExit(f"error: there is no checkpoint {path}; make one with the subcommand train") from None
    except OSError as error:
        raise SystemExit(f"error: cannot read the checkpoint {path}: {error.strerror}") from None
    try:
        saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # PyTorch's loader raises errors of many kinds, and gives advice that is not for this.
        raise unusable(path, "it is of another program, or of another version") from None
    reason = _wrong_field(saved) or _wrong_settings(saved["settings"], program) or _wrong_number(saved)
    if reason:
        raise unusable(path, reason)
    return dict(saved)


def load_model(
    path: Path, program: str, build: Callable[[dict[str, Any]], Net], examples: Callable[[dict[str, Any]], dict[str, Any]]
) -> Net:
    """The network of a checkpoint; ``examples`` gives, for its settings, values of the types that they must have."""
    saved = read_checkpoint(path, program)
    settings = saved["settings"]
    try:
        reason = _wrong_type(settings, examples(settings))
        if reason:
            raise unusable(path, reason)
        model = build(settings)
    except Exception as error:  # What a network says of settings that are not its own.
        reason = f"its settings make no network ({type(error).__name__}: {' '.join(str(error).split())[:60]})"
        raise unusable(path, reason) from None
    fill(model, saved["model"], path)
    return model.eval()


def fill(model: nn.Module, weights: dict[Any, Any], path: Path) -> None:
    """Give a network the weights of a checkpoint, which must be its own in every name, shape and type."""
    reason = _misfit("model", model.state_dict(), weights) or _not_finite("model", weights)
    if reason:
        raise unusable(path, reason)
    model.load_state_dict(weights)


def fill_optimizer(optimizer: torch.optim.Optimizer, state: dict[Any, Any], path: Path) -> None:
    """Give Adam the moments of a checkpoint; the learning rates stay its own."""
    wanted: dict[Any, Tensor] = {}
    found: dict[Any, Any] = {}
    for number, parameter in enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]):
        moments = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
        wanted |= {(number, name): tensor for name, tensor in moments.items()}
    for number, moments in state.items():
        found |= {(number, name): value for name, value in moments.items()} if isinstance(moments, dict) else {number: moments}
    reason = _misfit("optimizer", wanted, found) or _not_finite("optimizer", found)
    if reason:
        raise unusable(path, reason)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _not_finite(what: str, tensors: Mapping[Any, Tensor]) -> str | None:
    """Which of some tensors holds NaN or infinite numbers, if one does."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return f"its {what}'s tensor {name} holds NaN or infinite numbers"
    return None


def _misfit(what: str, wanted: Mapping[Any, Tensor], found: Mapping[Any, Any]) -> str | None:
    """How tensors differ in name, shape or type from those that are wanted, if they do."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"its {what} lacks the tensor {name}"
        other = found[name]
        if not isinstance(other, Tensor):
            return f"its {what}'s {name} must be a tensor, not {type(other).__name__}"
        if (other.shape, other.dtype, other.layout) != (tensor.shape, tensor.dtype, tensor.layout):
            wrong, right = (f"{each.dtype} {tuple(each.shape)}".removeprefix("torch.") for each in (other, tensor))
            return f"its {what}'s tensor {name} must be {right}, not {wrong}"
    extra = [name for name in found if name not in wanted]
    return f"its {what} has the tensor {extra[0]!r:.40}, which is not wanted" if extra else None


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _verified(path: Path) -> bytes:
    """The contents of a file whose checksum agrees; the end is looked at first, since any file may be given, however large."""
    if path.exists() and not path.is_file():
        raise OSError(0, "it is not an ordinary file")
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(size - len(MARK) - 64, 0)
        file.seek(start)
        end = file.read()
        if not size:
            raise unusable(path, "it is empty")
        if not end.startswith(MARK):
            raise unusable(path, "it has no checksum at its end: it is cut off, or of another program, or of an earlier version")
        file.seek(0)
        data = file.read(start)
    if _checksum(data) != end.removeprefix(MARK):
        raise unusable(path, "it is damaged: its contents do not agree with its checksum")
    return data


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """As isinstance, but True and False are no numbers."""
    return isinstance(value, kind) and (not isinstance(value, bool) or kind is bool)


def _wrong_field(saved: Any) -> str | None:
    """What is wrong with the fields, as such."""
    if not isinstance(saved, dict):
        return f"it holds {type(saved).__name__}, where fields are wanted"
    for name, kind in FIELDS.items():
        if name not in saved:
            return f"it lacks the field {name!r}"
        if not _is(saved[name], kind):
            return f"its field {name!r} must be {kind.__name__}, not {type(saved[name]).__name__}"
    return None


def _wrong_settings(settings: dict[Any, Any], program: str) -> str | None:
    """What is wrong with the settings that every run has."""
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        if not isinstance(name, str) or not all(isinstance(each, PLAIN) for each in values):
            return f"its settings must be names and plain values, unlike {name!r:.40}"
    if settings.get("program") != program:
        return f"it is not of the program {program}"
    steps = settings.get("steps")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        return f"its setting 'steps' must be a whole number of at least 1, not {steps!r:.40}"
    changes = settings.get("prolonged", [])
    if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
        return "its setting 'prolonged' must be a list of lines"
    return None


def _wrong_number(saved: dict[str, Any]) -> str | None:
    """What is wrong with how far the run is."""
    steps = saved["settings"]["steps"]
    if not 1 <= saved["step"] <= steps:
        return f"its step must be from 1 to its {steps} steps, not {saved['step']}"
    if not 0 <= saved["spent"] < math.inf:
        return f"its seconds spent must be a number of at least 0, not {saved['spent']}"
    return None


def _wrong_type(settings: dict[str, Any], examples: dict[str, Any]) -> str | None:
    """Which of the settings is missing, or not of the type of its example; numbers are at least 0."""
    for name, example in examples.items():
        if name not in settings:
            return f"its settings lack {name!r}"
        value = settings[name]
        if not _is(value, type(example)):
            return f"its setting {name!r} must be {type(example).__name__}, not {type(value).__name__}"
        if _is(value, (int, float)) and not 0 <= value < math.inf:
            return f"its setting {name!r} must be a number of at least 0, not {value}"
    return None
