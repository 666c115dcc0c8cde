"""Thread pools."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from skbinary.runtime import threads
from skbinary.runtime.threads import ThreadPool, one_torch_thread


@pytest.fixture
def three_threads():
    """Set three threads, and restore the setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_pool_limits_torch_to_one_thread_and_restores_the_setting():
    with ThreadPool() as pool:
        assert torch.get_num_threads() == 1
        assert pool.n_threads == 3
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_pool_restores_the_setting_after_an_error(error):
    with pytest.raises(error), ThreadPool():
        raise error
    assert torch.get_num_threads() == 3


def in_a_new_thread(function):
    """Call a function in a thread that torch has not seen yet, and give what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=60)


@pytest.mark.usefixtures("three_threads")
def test_pool_does_not_change_the_setting_of_new_threads():
    with ThreadPool() as pool:
        list(pool.map(str, range(9)))
        assert in_a_new_thread(torch.get_num_threads) == 3
    assert in_a_new_thread(torch.get_num_threads) == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("later", [ValueError, KeyboardInterrupt, None])
def test_pools_that_overlap_in_threads_restore_the_setting_of_each(later):
    entered, may_end = threading.Event(), threading.Event()

    def work():
        try:
            with ThreadPool() as pool:
                entered.set()
                assert may_end.wait(timeout=60)
                if later is not None:
                    raise later
        except (ValueError, KeyboardInterrupt):
            pass
        return pool.n_threads, torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with ThreadPool():
            there = pool.submit(work)
            assert entered.wait(timeout=60)
        may_end.set()
        assert there.result(timeout=60) == (3, 3)
    assert torch.get_num_threads() == 3
    assert in_a_new_thread(torch.get_num_threads) == 3


@pytest.mark.usefixtures("three_threads")
def test_pool_restores_a_setting_that_differs_between_threads():
    def work():
        torch.set_num_threads(2)
        with ThreadPool() as pool:
            found = pool.n_threads, torch.get_num_threads()
        return (*found, torch.get_num_threads())

    assert in_a_new_thread(work) == (2, 1, 2)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_pool_in_a_daemon_thread_uses_its_threads():
    results = []

    def work():
        with ThreadPool() as pool:
            results.append(list(pool.map(lambda task: -task, range(9))))

    daemon = threading.Thread(target=work, daemon=True)
    daemon.start()
    daemon.join(timeout=60)
    assert results == [[-i for i in range(9)]]


@pytest.mark.usefixtures("three_threads")
def test_pool_within_a_pool_has_one_thread():
    def task(_):
        return ThreadPool().n_threads

    with ThreadPool() as pool:
        assert ThreadPool().n_threads == 1
        assert set(pool.map(task, range(9))) == {1}
    assert ThreadPool().n_threads == 3


@pytest.mark.usefixtures("three_threads")
def test_pool_within_one_torch_thread_has_all_threads():
    with one_torch_thread():
        assert torch.get_num_threads() == 1
        assert ThreadPool().n_threads == 3
        with one_torch_thread():
            assert ThreadPool().n_threads == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_pool_without_openmp_functions_uses_that_of_torch(monkeypatch):
    monkeypatch.setattr(threads, "_setters", lambda: None)
    with ThreadPool() as pool:
        assert torch.get_num_threads() == 1
        assert set(pool.map(lambda task: torch.get_num_threads(), range(9))) == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("n_threads", [1, 4])
def test_map_gives_results_in_order(n_threads):
    with ThreadPool(n_threads) as pool:
        assert list(pool.map(lambda task: task * task, range(20))) == [i * i for i in range(20)]


def test_map_submits_many_tasks_in_chunks(monkeypatch):
    handed_out = []
    submit = ThreadPoolExecutor.submit

    def counted(self, *args):
        handed_out.append(args)
        return submit(self, *args)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    with ThreadPool(2) as pool:
        assert list(pool.map(lambda task: -task, range(1000))) == [-i for i in range(1000)]
    assert 2 < len(handed_out) <= 20


def test_map_of_no_tasks_returns_no_results():
    with ThreadPool(2) as pool:
        assert list(pool.map(lambda task: task, [])) == []


def test_map_runs_tasks_in_parallel():
    # Each task waits for the other one: on a single thread this would never end.
    meeting = threading.Barrier(2, timeout=10)
    with ThreadPool(2) as pool:
        assert sorted(pool.map(lambda task: meeting.wait(), range(2))) == [0, 1]


def test_map_runs_each_task_on_one_torch_thread():
    with ThreadPool(2) as pool:
        assert set(pool.map(lambda task: torch.get_num_threads(), range(8))) == {1}


def test_map_raises_the_error_of_a_task():
    def fail(task):
        raise ZeroDivisionError

    with ThreadPool(2) as pool, pytest.raises(ZeroDivisionError):
        list(pool.map(fail, range(4)))


def test_pool_ends_its_threads():
    before = threading.active_count()
    with ThreadPool(3) as pool:
        list(pool.map(str, range(9)))
    assert threading.active_count() == before


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are listed on Linux")
def test_pool_ends_its_threads_for_the_operating_system_too():
    # Python 3.11 and 3.12 count threads as ended that may still hold a lock.
    for _ in range(50):
        with ThreadPool(3) as pool:
            ids = set(pool.map(lambda task: threading.get_native_id(), range(9)))
        assert ids.isdisjoint(map(int, os.listdir("/proc/self/task")))
