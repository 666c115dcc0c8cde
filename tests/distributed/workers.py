"""Processes of a gloo group that do what a test sends them."""

import multiprocessing
import os
import traceback
import warnings
from datetime import timedelta


class Workers:
    """A group of processes, which are started once and do one piece of work after the other.

    Parameters
    ----------
    n_processes : int
    folder : Path
        Where the processes find each other.
    timeout : float, default=60
        Timeout of the group, in seconds.
    """

    def __init__(self, n_processes, folder, timeout=60):
        # Forked from a process that has imported the packages, and done nothing else.
        starts = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in starts else "spawn")
        if "forkserver" in starts:
            context.set_forkserver_preload(["skbinary.distributed"])
        self.pipes, self.processes = [], []
        for rank in range(n_processes):
            pipe, other = context.Pipe()
            settings = (other, rank, n_processes, str(folder / "group"), timeout)
            process = context.Process(target=_serve, args=settings, daemon=True)
            process.start()
            self.pipes.append(pipe)
            self.processes.append(process)

    def run(self, work, *arguments_per_rank, **shared):
        """Return what ``work(*arguments, **shared)`` returns or raises in each process."""
        for pipe, arguments in zip(self.pipes, arguments_per_rank, strict=True):
            pipe.send((work, arguments, shared))
        outcomes = [_receive(pipe) for pipe in self.pipes]
        for outcome in outcomes:
            if isinstance(outcome, _Bug):
                raise AssertionError(outcome.text)
        return outcomes

    def close(self):
        """End the processes."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(10)
            process.kill()


class _Bug:
    """An error of another kind than those that fit raises on purpose."""

    def __init__(self, text):
        self.text = text


def _receive(pipe):
    try:
        return pipe.recv()
    except EOFError:
        return None


def _serve(pipe, rank, n_processes, path, timeout):
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=f"file://{path}",
        rank=rank,
        world_size=n_processes,
        timeout=timedelta(seconds=timeout),
    )
    dist.barrier()  # all are connected
    while True:
        try:
            work, arguments, shared = pipe.recv()
        except (EOFError, OSError):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcome = work(*arguments, **shared)
            except (ValueError, RuntimeError, TypeError) as error:
                outcome = error
            except Exception:
                outcome = _Bug(traceback.format_exc())
        pipe.send(outcome)
    os._exit(0)  # without waiting for the others
