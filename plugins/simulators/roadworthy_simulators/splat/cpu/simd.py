"""Eight float32 lanes as a numba type, so that the inner loops are written as they run.

LLVM's loop vectoriser leaves half of the speed of a splatting loop on the table: masks, carried
state and horizontal sums each stop it. The type here lowers to LLVM's portable `<8 x float>`:
one AVX register on x86, two NEON or SSE registers elsewhere. Every operation is one IEEE
operation a lane (`fma` is the fused one, which LLVM emulates exactly where hardware lacks it), so
that a kernel gives the same bits on every machine. Nothing here is compiled at import.

A block is 4 pixels wide and 2 high: lane `4 * row + column`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = [
    "LANES",
    "all_negative",
    "any_lane",
    "atomic_add",
    "ceil",
    "exp2_of_negative",
    "float_bits",
    "fma",
    "horizontal_sum",
    "lane",
    "load",
    "maximum",
    "minimum",
    "negative_abs",
    "prefetch",
    "select",
    "splat",
    "store",
    "store_word",
]

LANES = 8
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)


class _LanesType(types.Type):
    """`<8 x float>`."""

    def __init__(self) -> None:
        super().__init__(name="float32x8")


class _MaskType(types.Type):
    """`<8 x i1>`."""

    def __init__(self) -> None:
        super().__init__(name="mask8")


_lanes = _LanesType()
_mask = _MaskType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _VECTOR)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _BITS)


def _fill(builder: Any, value: Any) -> Any:
    zero = ir.Constant(_I32, 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, zero)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    return builder.shuffle_vector(one, undefined, ir.Constant(_INTS, [zero] * LANES))


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Address of `array[index]` of a contiguous array: no bounds check, no wraparound."""
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.gep(data, [index])


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """float32 -> the same value in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.cast(builder, args[0], signature.args[0], types.float32)
        return _fill(builder, scalar)

    return _lanes(value), codegen


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """array float32 [N] (contiguous), index -> lanes `array[index : index + 8]`; unchecked."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=4)

    return _lanes(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes lanes to `array[index : index + 8]`; unchecked."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _element(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], builder.bitcast(address, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once; lanes or float32."""

    wide = isinstance(a, _LanesType)
    kind, lowered = (_lanes, _VECTOR) if wide else (types.float32, _F32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(lowered, [lowered] * 3),
            "llvm.fma.v8f32" if wide else "llvm.fma.f32",
        )
        return builder.call(function, args)

    return kind(kind, kind, kind), codegen


def _operation(method: str) -> Any:
    @intrinsic
    def apply(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, method)(*args)

        return _lanes(_lanes, _lanes), codegen

    return apply


def _comparison(symbol: str) -> Any:
    @intrinsic
    def apply(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fcmp_ordered(symbol, *args)

        return _mask(_lanes, _lanes), codegen

    return apply


def _bind(symbol: Callable[..., Any], apply: Any) -> None:
    @overload(symbol, strict=False, inline="always")
    def _(a: Any, b: Any) -> Any:
        if isinstance(a, _LanesType) and isinstance(b, _LanesType):
            return lambda a, b: apply(a, b)
        return None


_bind(operator.add, _operation("fadd"))
_bind(operator.sub, _operation("fsub"))
_bind(operator.mul, _operation("fmul"))
_bind(operator.truediv, _operation("fdiv"))
_bind(operator.ge, _comparison(">="))
_bind(operator.gt, _comparison(">"))
_bind(operator.lt, _comparison("<"))


@intrinsic
def _both(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(*args)

    return _mask(_mask, _mask), codegen


@overload(operator.and_, strict=False, inline="always")
def _and(a: Any, b: Any) -> Any:
    if isinstance(a, _MaskType) and isinstance(b, _MaskType):
        return lambda a, b: _both(a, b)
    return None


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """The lesser, lane by lane (no NaN)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return _lanes(_lanes, _lanes), codegen


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """The greater, lane by lane (no NaN)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return _lanes(_lanes, _lanes), codegen


@intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask holds, b elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return _lanes(_mask, _lanes, _lanes), codegen


@intrinsic
def negative_abs(typingctx: Any, a: Any) -> Any:
    """-|a|: sets the sign bit."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sign = ir.Constant(_INTS, [ir.Constant(_I32, 0x80000000)] * LANES)
        return builder.bitcast(builder.or_(builder.bitcast(args[0], _INTS), sign), _VECTOR)

    return _lanes(_lanes), codegen


def _packed(builder: Any, bits: Any) -> Any:
    return builder.bitcast(bits, ir.IntType(LANES))


@intrinsic
def all_negative(typingctx: Any, a: Any) -> Any:
    """Whether every lane has its sign bit set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(_INTS, [ir.Constant(_I32, 0)] * LANES)
        signs = builder.icmp_signed("<", builder.bitcast(args[0], _INTS), zero)
        return builder.icmp_unsigned("==", _packed(builder, signs), ir.Constant(ir.IntType(8), 255))

    return types.boolean(_lanes), codegen


@intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Whether the mask holds in any lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.icmp_unsigned("!=", _packed(builder, args[0]), ir.Constant(ir.IntType(8), 0))

    return types.boolean(_mask), codegen


@intrinsic
def horizontal_sum(typingctx: Any, a: Any) -> Any:
    """Sum of the lanes, halves first: ((0+4)+(2+6)) + ((1+5)+(3+7)); a fixed order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total = args[0]
        for distance in (4, 2, 1):
            order = [ir.Constant(_I32, (k + distance) % LANES) for k in range(LANES)]
            moved = builder.shuffle_vector(total, total, ir.Constant(_INTS, order))
            total = builder.fadd(total, moved)
        return builder.extract_element(total, ir.Constant(_I32, 0))

    return types.float32(_lanes), codegen


@intrinsic
def lane(typingctx: Any, a: Any, index: Any) -> Any:
    """One lane as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], _I32))

    return types.float32(_lanes, types.int64), codegen


@intrinsic
def _power_of_two_bits(typingctx: Any, mantissa: Any, shifted: Any) -> Any:
    """mantissa * 2**n, where `shifted` is n + 1.5 * 2**23 as a float."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = ir.Constant(_INTS, [ir.Constant(_I32, 23)] * LANES)
        exponent = builder.shl(builder.bitcast(args[1], _INTS), places)
        return builder.bitcast(builder.add(builder.bitcast(args[0], _INTS), exponent), _VECTOR)

    return _lanes(_lanes, _lanes), codegen


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def exp2_of_negative(x: Any) -> Any:
    """2**x for lanes x <= about 1, to 2e-7 relative; below -126 it stays at 2**-126.

    x = n + f with |f| <= 1/2, by adding and taking away 1.5 * 2**23; 2**f by the polynomial of
    degree 5 that is minimax in relative error.
    """
    x = maximum(x, splat(-126.0))
    shift = splat(12582912.0)
    shifted = x + shift
    f = x - (shifted - shift)
    p = splat(1.32647e-3)
    p = fma(p, f, splat(9.67151e-3))
    p = fma(p, f, splat(5.550734e-2))
    p = fma(p, f, splat(2.4022242e-1))
    p = fma(p, f, splat(6.9314698e-1))
    p = fma(p, f, splat(1.0))
    return _power_of_two_bits(p, shifted)


@intrinsic
def ceil(typingctx: Any, value: Any) -> Any:
    """The least whole number not below a float32, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_F32, [_F32]), "llvm.ceil.f32"
        )
        return builder.call(function, args)

    return types.float32(types.float32), codegen


@intrinsic
def store_word(typingctx: Any, array: Any, index: Any, word: Any) -> Any:
    """Writes a uint64 over the four uint16 `array[index : index + 4]`; unchecked.

    The lowest 16 bits come first, as every machine that numba knows stores them.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _element(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), codegen


@intrinsic
def float_bits(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 as uint32: for x >= 0 their order is the order of x."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _I32)

    return types.uint32(types.float32), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of `array[index]`; never faults."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _element(context, builder, signature.args[0], args[0], args[1])
        pointer = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        flags = [ir.Constant(_I32, n) for n in (0, 3, 1)]
        builder.call(function, [builder.bitcast(address, pointer), *flags])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def atomic_add(typingctx: Any, array: Any, index: Any, amount: Any) -> Any:
    """Adds to `array[index]` (int64) in one step over all threads; returns the value before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", address, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen
