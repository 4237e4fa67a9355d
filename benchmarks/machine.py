"""Where and with what a run took place."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

import torchsample as ts

from . import competitors

ROOT = Path(__file__).resolve().parents[1]


def cpu_model() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(device: torch.device) -> dict[str, Any]:
    machine: dict[str, Any] = {"cpu": cpu_model(), "cores": cores(), "threads": torch.get_num_threads(), "device": device.type}
    machine["gpu"] = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    machine["load"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return machine


def describe_versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "torchsample": ts.__version__, **competitors.versions()}


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def describe_tree() -> dict[str, Any]:
    """Commit of the checkout, and whether files differ from it, those of results aside; None outside of a checkout."""
    status = _git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def slug(machine: dict[str, Any]) -> str:
    """The machine as a file name: ``amd-epyc-2-cores``, ``nvidia-h100-80gb-hbm3``."""
    name = machine["gpu"] or f"{machine['cpu']} {machine['cores']} cores"
    name = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b", "", name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
