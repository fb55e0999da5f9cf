"""Ask the processor for a cache line ahead of its use, inside compiled loops.

State of many users does not fit the caches; a loop over a batch knows its next users, so their lines can be on the way
while the present event is worked on. A hint only: it reads and changes nothing a result could depend on.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from operators.compiled import Int, borrowing

LINE = 64
"""Bytes of a cache line on x86-64 and most of ARM."""


@intrinsic
def _prefetch(_typing: Any, array: Any, offset: Any) -> Any:  # noqa: ARG001  the offset's type is fixed below
    signature = types.void(array, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        address = builder.gep(builder.bitcast(data, byte), [arguments[1]])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        to_read, keep_close, data_cache = number(0), number(3), number(1)
        builder.call(function, [address, to_read, keep_close, data_cache])
        return context.get_dummy_value()

    return signature, generate


@borrowing
def prefetch(array: NDArray[Any], offset: Int) -> None:
    """Start loading the line `offset` bytes from the start of `array`; an address outside of it is harmless."""
    _prefetch(array, offset)  # type: ignore[call-arg]  # the typing context is Numba's
