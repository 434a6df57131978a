"""What the processor does in one instruction and Numba has no word for.

Without compilation the same names are plain Python with the same answers.
"""

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def _prefetch(_context: Any, array: Any, _row: Any, _byte: Any) -> Any:
    """Build `prefetch`: a hint to load one cache line, which changes nothing and never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        proxy = cgutils.create_struct_proxy(signature.args[0])
        whole = proxy(context, builder, value=arguments[0])
        start = builder.ptrtoint(whole.data, _I64)
        stride = builder.extract_value(whole.strides, 0)
        at = builder.add(builder.add(start, builder.mul(arguments[1], stride)), arguments[2])
        layout = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _I32, _I32, _I32])
        hint = cgutils.get_or_insert_function(builder.module, layout, "llvm.prefetch.p0")
        # To be read (0), soon and again (3), data (1).
        builder.call(hint, [builder.inttoptr(at, _BYTE.as_pointer()), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


def _trailing_zeros(_context: Any, word: Any) -> Any:
    """Build `trailing_zeros`: how many low bits are 0; `word` is not 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return word(word), generate


prefetch: Any
"""`prefetch(array, row, byte)`: ask for the cache line at that byte of that row of `array`."""
trailing_zeros: Any
"""`trailing_zeros(word)`: how many low bits of the unsigned `word`, which is not 0, are 0."""

if config.DISABLE_JIT:

    def prefetch(_array: Any, _row: int, _byte: int) -> None:
        """Do nothing: there is no cache to fill."""

    def trailing_zeros(word: Any) -> Any:
        """Return how many low bits are 0."""
        return type(word)((int(word) & -int(word)).bit_length() - 1)

else:
    prefetch = intrinsic(_prefetch)
    trailing_zeros = intrinsic(_trailing_zeros)
