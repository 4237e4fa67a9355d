"""What the training of larger examples has in common: processes that share a batch, and checkpoints that survive being interrupted.

Every random number of a step comes from a generator that is seeded by the run's seed and the number of the step, and is drawn for the
whole batch. A process then works on its own share of it. So a run gives the same numbers on any number of processes, to rounding,
and wherever it was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from _common import between, check_writable


@dataclass(frozen=True)
class Team:
    """The processes that share a training: one, or as many as ``torchrun`` started."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch that is this process's own, on its device."""
        return batch.chunk(self.size)[self.rank].to(self.device)

    def join(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are means over the whole batch."""
        return DistributedDataParallel(model) if self.size > 1 else model

    def mean(self, number: Tensor) -> float:
        """The mean over all processes of a number that each has for its share."""
        number = number.detach().clone()
        if self.size > 1:
            distributed.all_reduce(number)
        return number.item() / self.size


@contextlib.contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Meet the other processes that ``torchrun`` started, if it did: by gloo on CPUs, by nccl on GPUs, one for each process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name in its folder and rename it, so that nobody ever finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Trainer` saved; a file that is none ends the program with one line."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if not {"model", "settings", "step", "spent"} <= set(saved):
            raise KeyError
    except FileNotFoundError:
        raise SystemExit(f"error: there is no checkpoint {path}; make one with the subcommand train") from None
    except OSError as error:
        raise SystemExit(f"error: cannot read the checkpoint {path}: {error.strerror}") from None
    except Exception:  # PyTorch's loader raises errors of many kinds for damaged files, and gives advice that is not for this.
        raise SystemExit(f"error: cannot read the checkpoint {path}: it is damaged, or of another program or version") from None
    return dict(saved)


@dataclass
class Trainer:
    """Adam with a rate that rises and falls once, a progress bar, and checkpoints."""

    model: nn.Module
    team: Team
    settings: dict[str, Any]
    """What the run depends on: ``seed``, ``steps``, ``batch``, ``lr``, and all else that a checkpoint must agree with to go on."""
    checkpoint: Path | None
    seconds: float = 30.0
    """Between checkpoints."""
    groups: Callable[[nn.Module, float], Iterable[dict[str, Any]]] | None = None
    """From the model and the learning rate to groups of parameters with rates of their own."""

    def __post_init__(self) -> None:
        if self.settings["batch"] % self.team.size:
            raise SystemExit(f"error: a batch of {self.settings['batch']} does not divide among {self.team.size} processes; change --batch")
        self.model.to(self.team.device)
        self._joined = self.team.join(self.model)
        groups = [{"params": list(self.model.parameters())}] if self.groups is None else list(self.groups(self.model, self.settings["lr"]))
        self._optimizer = torch.optim.Adam(groups, lr=self.settings["lr"])
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=[group["lr"] for group in self._optimizer.param_groups],
            total_steps=self.settings["steps"],
            pct_start=self._rise(),
        )
        self.step, self.spent, self._stopping = 0, 0.0, False
        if self.checkpoint is not None and self.team.leads:
            try:
                check_writable(self.checkpoint)
            except OSError as error:
                raise SystemExit(f"error: cannot write the checkpoint {self.checkpoint}: {error.strerror}") from None

    def _rise(self) -> float:
        """The share of the steps in which the rate rises: a tenth, but PyTorch divides by zero where that is a single step."""
        return 0.1 if self.settings["steps"] != 10 else 0.2

    def resume(self) -> None:
        """Go on where the checkpoint is, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        saved = read_checkpoint(self.checkpoint)
        other = {key: (saved["settings"].get(key), value) for key, value in self.settings.items() if saved["settings"].get(key) != value}
        if other:
            differences = ", ".join(f"{key} {there} there and {here} here" for key, (there, here) in other.items())
            raise SystemExit(f"error: {self.checkpoint} is of another run: {differences}. Remove it, or train with --restart.")
        self.model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._schedule.load_state_dict(saved["schedule"])
        self.step, self.spent = saved["step"], saved["spent"]

    def _check(self, *numbers: Tensor) -> None:
        """End the program where training has failed; the last checkpoint is from before."""
        if not all(bool(tensor.isfinite().all()) for tensor in numbers):
            raise SystemExit(f"error: at step {self.step} the training gave NaN or infinite numbers; lower --lr. Nothing of it was saved.")

    def _save(self) -> None:
        self._check(*self.model.parameters())
        if self.checkpoint is None or not self.team.leads:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "settings": self.settings,
        }
        write_beside(self.checkpoint, lambda path: torch.save(state, path))

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C, and being terminated, end a training after the step that it is in, and its checkpoint; a second time, at once."""

        def stop(_number: int, _frame: object) -> None:
            if self._stopping:
                raise KeyboardInterrupt
            self._stopping = True

        signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {each: signal.signal(each, stop) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def run(self, loss_of: Callable[[nn.Module, torch.Generator, Team], tuple[Tensor, dict[str, Tensor]]]) -> None:
        """Train to the end; ``loss_of`` gives the loss of this process's share of a batch, and numbers to show."""
        self.model.train()
        bar = tqdm(total=self.settings["steps"], initial=self.step, desc="training", disable=not self.team.leads)
        begun, saved = time.monotonic() - self.spent, time.monotonic()
        with bar, self._interruptible():
            while self.step < self.settings["steps"]:
                generator = torch.Generator().manual_seed((self.settings["seed"] * 1_000_003 + self.step) % 2**63)
                loss, numbers = loss_of(self._joined, generator, self.team)
                self._check(loss)
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                self._schedule.step()
                self.step += 1
                self.spent = time.monotonic() - begun
                if self.step % 10 == 0:
                    shown = {name: f"{self.team.mean(number):.3f}" for name, number in numbers.items()}
                    bar.set_postfix(shown, refresh=False)
                bar.update()
                if time.monotonic() - saved > self.seconds or self._stopping:
                    self._save()
                    saved = time.monotonic()
                if self._stopping:
                    bar.write(f"stopped at step {self.step}" + ("; the same command goes on from there" if self.checkpoint else ""))
                    raise KeyboardInterrupt
        self._save()
        self.model.eval()


def add_training_arguments(
    parser: argparse.ArgumentParser, whole: Callable[..., Any], checkpoint: Path, steps: int | None, batch: int | None, lr: float | None
) -> None:
    """The options of the subcommand train; without a default, the program has one of its own for each kind of run."""
    add = parser.add_argument
    own = "(default: %(default)s)" if steps is not None else "(default: one for each kind of run)"
    add("--steps", type=whole(1), default=steps, help=f"training steps {own}")
    add("--batch", type=whole(1), default=batch, help=f"samples per step, of all processes together {own}")
    add("--lr", type=between(0), default=lr, help=f"largest learning rate {own}")
    add("--restart", action="store_true", help="start anew, even if there is a checkpoint to go on from")
    add("--checkpoint", type=Path, default=checkpoint, metavar="FILE", help="written now and then (default: %(default)s)")
