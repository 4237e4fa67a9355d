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
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from _checkpoint import fill, fill_optimizer, read_checkpoint, write_checkpoint
from _common import between
from _files import claim


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
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self.settings = dict(self.settings)
        self.step, self.spent, self._stopping = 0, 0.0, False
        self._schedule = self._make_schedule()
        if self.checkpoint is not None and self.team.leads:
            claim(self.checkpoint)

    def _make_schedule(self) -> torch.optim.lr_scheduler.OneCycleLR:
        """The learning rate from this step on, which depends on nothing but the step and the number of steps."""
        # It rises in a tenth of the steps; PyTorch divides by zero where that is a single step.
        rise = 0.1 if self.settings["steps"] != 10 else 0.2
        return torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=self._rates, total_steps=self.settings["steps"], pct_start=rise, last_epoch=self.step - 1
        )

    def resume(self, prolong: bool = False) -> None:
        """Go on where the checkpoint is, if there is one; with ``prolong``, also if it is of a run of another number of steps."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        saved = read_checkpoint(self.checkpoint, self.settings["program"])
        self._compare(saved["settings"], ("steps", "prolonged") if prolong else ())
        fill(self.model, saved["model"], self.checkpoint)
        fill_optimizer(self._optimizer, saved["optimizer"], self.checkpoint)
        if prolong:
            self._prolong(saved)
        self.step, self.spent = saved["step"], saved["spent"]
        if self.step < self.settings["steps"]:
            self._schedule = self._make_schedule()
        elif prolong:
            self._say(f"{self.checkpoint} has all {self.step} steps already; more --steps prolong the training, --restart begins anew")

    def _prolong(self, saved: dict[str, Any]) -> None:
        """Go on to another number of steps than the checkpoint's, and write down where it changed."""
        here, there, done = self.settings["steps"], saved["settings"]["steps"], saved["step"]
        changes = saved["settings"].get("prolonged", [])
        if here != there:
            if here <= done:
                raise SystemExit(
                    f"error: {self.checkpoint} has {done} steps of training already, and this command asks for {here};"
                    f" pass --steps {there} or more, or train with --restart"
                )
            changes = [*changes, f"at step {done} of {there}"]
            self._say(
                f"{self.checkpoint} has {done} of {there} steps; from here on, the learning rate is that of a run of {here} steps"
                f" (the result is not that of {here} steps from the start)"
            )
        if changes:
            self.settings["prolonged"] = changes

    def _compare(self, saved: dict[str, Any], free: Collection[str]) -> None:
        """End the program if the checkpoint is of another run, in other than the settings that are free."""
        none = object()
        values = {name: (saved.get(name, none), self.settings.get(name, none)) for name in self.settings | saved if name not in free}
        other = {name: pair for name, pair in values.items() if type(pair[0]) is not type(pair[1]) or pair[0] != pair[1]}
        if other:
            shown = {name: ["nothing" if value is none else _short(value) for value in pair] for name, pair in other.items()}
            differences = ", ".join(f"{name} {there} there and {here} here" for name, (there, here) in shown.items())
            raise SystemExit(f"error: {self.checkpoint} is of another run: {differences}. Remove it, or train with --restart.")

    def _say(self, line: str) -> None:
        """Say it once, however many processes there are."""
        if self.team.leads:
            print(line, flush=True)

    def _check(self, *numbers: Tensor) -> None:
        """End the program where training has failed; the last checkpoint is from before."""
        if not all(bool(tensor.isfinite().all()) for tensor in numbers):
            raise SystemExit(f"error: at step {self.step} the training gave NaN or infinite numbers; lower --lr. Nothing of it was saved.")

    def _save(self) -> None:
        weights, moments = self.model.state_dict(), self._optimizer.state_dict()["state"]
        self._check(*weights.values(), *(tensor for each in moments.values() for tensor in each.values()))
        if self.checkpoint is not None and self.team.leads:
            fields = {"model": weights, "optimizer": moments, "settings": self.settings, "step": self.step, "spent": self.spent}
            write_checkpoint(self.checkpoint, fields)

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
        if self.step == self.settings["steps"]:
            self.model.eval()
            return
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
                    where = "; the same command goes on from there, without --restart" if self.checkpoint else ""
                    bar.write(f"stopped at step {self.step}{where}")
                    raise KeyboardInterrupt
        self._save()
        self.model.eval()


def _short(value: object) -> str:
    """A setting in one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def add_training_arguments(
    parser: argparse.ArgumentParser, whole: Callable[..., Any], checkpoint: Path, steps: int | None, batch: int | None, lr: float | None
) -> None:
    """The options of the subcommand train; without a default, the program has one of its own for each kind of run."""
    add = parser.add_argument
    own = "(default: %(default)s)" if steps is not None else "(default: one for each kind of run)"
    add("--steps", type=whole(1), default=steps, help=f"training steps; more than a checkpoint has prolong its training {own}")
    add("--batch", type=whole(1), default=batch, help=f"samples per step, of all processes together {own}")
    add("--lr", type=between(0, 1e30), default=lr, help=f"largest learning rate {own}")
    add("--restart", action="store_true", help="start anew, even if there is a checkpoint to go on from")
    add("--checkpoint", type=Path, default=checkpoint, metavar="FILE", help="written now and then (default: %(default)s)")
