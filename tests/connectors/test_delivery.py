import threading
import time

from connectors.delivery import WATCHDOG_EXIT, Watchdog


def test_a_call_that_never_returns_ends_the_process():
    ended, codes = threading.Event(), []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    watchdog = Watchdog(0.05, end)
    with watchdog.watch("commit_transaction"):
        assert ended.wait(5)
    assert codes[0] == WATCHDOG_EXIT


def test_calls_that_return_in_time_end_nothing():
    codes: list[int] = []
    watchdog = Watchdog(0.2, codes.append)
    for _ in range(20):
        with watchdog.watch("flush"):
            time.sleep(0.02)
    assert codes == []
