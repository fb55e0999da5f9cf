"""What SIGTERM and SIGINT do to a flow: from its first moment on they end it in good order, with exit code 0."""

import signal
from collections.abc import Callable
from types import FrameType


class ToldToStop(BaseException):
    """A signal came while the flow was still starting: nothing is in hand, so it ends where it is.

    No `Exception`: what is compiling just then must not take it for its own failure.
    """


class Told:
    """Listens for both signals from when it is made, in the main thread.

    Without it a start, of which compiling may be a minute, would end as Python does by default: with another exit code,
    or as process 1 of a container not at all.
    """

    def __init__(self) -> None:
        self._came = False
        self._stop: Callable[[], None] | None = None
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._take)

    def pass_on_to(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls `stop`, in place of raising.

        Raises:
            ToldToStop: one came before and got lost, as is whatever is raised in a destructor or a callback from C.
        """
        self._stop = stop
        if self._came:
            raise ToldToStop

    def _take(self, _signal: int, _frame: FrameType | None) -> None:
        first, self._came = not self._came, True
        if self._stop is not None:
            self._stop()
        elif first:  # the second must not disturb how the first ends it
            raise ToldToStop
