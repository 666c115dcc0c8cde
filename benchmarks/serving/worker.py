"""A process that serves one model: it imports only what the model needs.

It prints one line when it has answered its first request, and one line for each line that it reads:
``size repeats`` gives the seconds of each call, ``memory`` the resident memory in bytes.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load(kind: str, path: str) -> Callable[[Any], Any]:
    """Return the function that computes probabilities.

    Parameters
    ----------
    kind : {"joblib", "onnx"}
    path : str
    """
    if kind == "joblib":
        import joblib

        predict_proba: Callable[[Any], Any] = joblib.load(path).predict_proba
        return predict_proba
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["probabilities"], inputs)


def main() -> None:
    """Serve until the input ends."""
    kind, path, requests = sys.argv[1:]
    predict = load(kind, path)
    one, many = pickle.loads(Path(requests).read_bytes())
    predict(one)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(_resident_memory(), flush=True)
            continue
        size, repeats = map(int, line.split())
        rows = one if size == 1 else many
        begin = time.perf_counter()
        for _ in range(repeats):
            predict(rows)
        print((time.perf_counter() - begin) / repeats, flush=True)


def _resident_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmRSS.")


if __name__ == "__main__":
    main()
