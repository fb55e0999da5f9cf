"""The two ends of the dataflow, as Bytewax wants them: thin, the engine does the work."""

from typing import Any

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from connectors.engine import Engine


class _Feed(StatelessSourcePartition[Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def next_batch(self) -> list[Any]:
        # Bytewax would print an exception and lose its type: it is kept, and raised when the execution has ended.
        try:
            return self._engine.pull()
        except StopIteration:
            raise
        except BaseException as error:
            self._engine.failure = error
            raise StopIteration from error


class _Drain(StatelessSinkPartition[Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write_batch(self, items: list[Any]) -> None:
        try:
            self._engine.push(items)
        except BaseException as error:  # noqa: BLE001  the source ends the execution at its next turn
            self._engine.fail(error)


class EngineSource(DynamicSource[Any]):
    """Micro-batches and control items from the engine; one worker per process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Feed:  # noqa: ARG002  Bytewax's signature
        """Build the one partition."""
        if worker_count != 1:
            raise ValueError(f"expected one worker per process, got {worker_count}: start more processes instead")
        return _Feed(self._engine)


class EngineSink(DynamicSink[Any]):
    """Answers back to the engine: the one sink, because there is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Drain:  # noqa: ARG002  Bytewax's signature
        """Build the one partition."""
        return _Drain(self._engine)
