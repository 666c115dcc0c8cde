"""The machine and the versions of the libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skorch", "cuml")


def describe(device: str) -> dict[str, str]:
    """Return the processor, the device and the versions.

    Parameters
    ----------
    device : str
        Device of the contenders that use PyTorch.

    Returns
    -------
    dict of str to str
    """
    facts = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": platform.system(),
        "load before": _load(),
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        import torch

        facts["GPU"] = torch.cuda.get_device_name(device)
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _load() -> str:
    """Return the load average: two threads on busy cores mostly wait for each other."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
