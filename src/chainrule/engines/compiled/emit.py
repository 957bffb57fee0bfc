"""Code for each op: the same keys as the table of ops, with LLVM IR for their meaning.

An emitter works on vectors of lanes; all values of a loop's element have as many lanes. The
polynomials have a relative error of about 1e-7, below what float32 resolves; LLVM's own intrinsics
would become a call of the C library for each lane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ...graph import ops
from ...graph.tensor import Op
from .build import declared, splat

F32, I32, I1 = ir.FloatType(), ir.IntType(32), ir.IntType(1)
Value = Any

EXP = (1.00000004, 0.49999991, 0.16666421, 0.04166836, 0.00837477, 0.00138294)
LOG = (0.3333331089896437, -0.25000016279060644, 0.20002204183574038, -0.16667643715923516,
       0.1421789153532023, -0.12411268690841734, 0.11904712127663558, -0.1164643438936877,
       0.06675271859537296)  # fmt: skip
ERF_NEAR = (1.12837917, -0.376126384, 0.112837818, -0.0268653921, 0.00522092322, -0.000848250775,
            0.000112546408, -9.63499146e-06)  # fmt: skip
ERFCX = (0.5642416100978226, -0.0015830393773269419, -0.26185892155518303, -0.14482995099856805,
         1.0629252405923575, -1.7633749235982021, 1.658530363966524, -0.9579898178421005,
         0.3183683375957352, -0.04684532490660369)  # fmt: skip
UPPER_TAIL = (0.0944106430, 0.170397744, 0.124379240, 0.0717067644, 0.0308649801, 0.00849782024,
              0.000504795171, -0.000658331555, -0.000171058273, 6.74027542e-05)  # fmt: skip
EXPM1 = (0.499999994, 0.166665774, 0.0416669428, 0.00836313329, 0.0013893836)
"""Least squares over Chebyshev points, weighted by relative error: (eˣ − 1)/x on |x| ≤ log(2)/2;
the rest of log(1 + f) beyond f − f²/2, over f³, on √½ ≤ 1 + f ≤ √2; erf x / x in x² on |x| ≤ 1;
x·exp(x²)·erfc x in 1/x on 1 ≤ x ≤ 4; exp(x²/2)·Φ(−x) in (4 − x)/(4 + x) on 0 ≤ x ≤ 14;
(eˣ − 1 − x)/x² on |x| ≤ log(2)/2."""

LOWEST = -87.337
"""Below it eˣ is below 2⁻¹²⁶, the smallest normal number of float32: log 2⁻¹²⁶ = −87.3365."""

FARTHEST = 104.0
"""e⁻¹⁰⁴ is below half the smallest number of float32."""

ROUND = 12582912.0  # 1.5·2²³: adding it leaves the nearest whole number in the low bits


class Emitter:
    """Writes arithmetic on vectors; constants are spread over the lanes."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.b, self.lanes = builder, lanes
        self.floats, self.ints, self.bools = (ir.VectorType(t, lanes) for t in (F32, I32, I1))
        self.doubles = ir.VectorType(ir.DoubleType(), lanes)

    def number(self, value: float) -> Value:
        """A constant in every lane."""
        return ir.Constant(self.floats, [ir.Constant(F32, _float32(value))] * self.lanes)

    def double(self, value: float) -> Value:
        """A constant of 64 bits in every lane."""
        return ir.Constant(self.doubles, [ir.Constant(ir.DoubleType(), value)] * self.lanes)

    def integer(self, value: int) -> Value:
        """A whole constant in every lane."""
        return ir.Constant(self.ints, [value] * self.lanes)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """A call of an LLVM intrinsic on vectors of floats."""
        kinds = [self.floats] * len(operands)
        function = declared(self.b, f"llvm.{name}.v{self.lanes}f32", self.floats, *kinds)
        return self.b.call(function, operands)

    def first(self, count: Value) -> Value:
        """A mask of the first lanes."""
        number = ir.Constant(self.ints, list(range(self.lanes)))
        count = splat(self.b, self.b.trunc(count, I32), self.lanes)
        return self.b.icmp_signed("<", number, count)

    def load_where(self, mask: Value, place: Value) -> Value:
        """Load the lanes that the mask has, and touch no other."""
        kind = place.type.pointee
        name = f"llvm.masked.load.v{self.lanes}{_short(kind.element)}.p0"
        function = declared(self.b, name, kind, place.type, I32, mask.type, kind)
        return self.b.call(function, [place, ir.Constant(I32, 1), mask, ir.Constant(kind, None)])

    def store_where(self, mask: Value, value: Value, place: Value) -> None:
        """Store the lanes that the mask has, and touch no other."""
        kinds = [value.type, place.type, I32, mask.type]
        name = f"llvm.masked.store.v{self.lanes}f32.p0"
        function = declared(self.b, name, ir.VoidType(), *kinds)
        self.b.call(function, [value, place, ir.Constant(I32, 4), mask])

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a·b + c, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Σ cᵢ·xⁱ by Horner's rule."""
        result = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            result = self.fma(result, x, self.number(c))
        return result

    def as_ints(self, x: Value) -> Value:
        """The bits of floats."""
        return self.b.bitcast(x, self.ints)

    def as_floats(self, x: Value) -> Value:
        """Floats of bits."""
        return self.b.bitcast(x, self.floats)

    def less(self, a: Value, b: Value) -> Value:
        """Whether a < b."""
        return self.b.fcmp_ordered("<", a, b)

    def absolute(self, x: Value) -> Value:
        """|x|."""
        return self.intrinsic("fabs", x)

    def maximum(self, a: Value, b: Value) -> Value:
        """The larger one; NaN if either is, as NumPy has it."""
        larger = self.b.select(self.b.fcmp_unordered(">", a, b), a, b)
        return self.b.select(self.b.fcmp_unordered("uno", b, b), b, larger)

    def minimum(self, a: Value, b: Value) -> Value:
        """The smaller one; NaN if either is."""
        smaller = self.b.select(self.b.fcmp_unordered("<", a, b), a, b)
        return self.b.select(self.b.fcmp_unordered("uno", b, b), b, smaller)

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """The nearest number from `low` to `high`; NaN stays, and that takes no further code."""
        lowest = self.number(low)
        return self.at_most(self.b.select(self.less(x, lowest), lowest, x), high)

    def at_most(self, x: Value, high: float) -> Value:
        """The smaller one of x and a number; NaN stays."""
        highest = self.number(high)
        return self.b.select(self.less(highest, x), highest, x)

    def exp(self, x: Value, rest: Value | None = None) -> Value:
        """eˣ, or e to the sum of x and a tiny rest; infinite above 88.7, and 0 below −87.337, where
        eˣ is below the smallest normal number."""
        result = self._times_exp(None, self.clamp(x, LOWEST, 89.0), rest)
        return self.b.select(self.less(x, self.number(LOWEST)), self.number(0.0), result)

    def _exp_parts(self, x: Value, rest: Value | None = None) -> tuple[Value, Value, Value, Value]:
        """eˣ = 2ⁿ·eʳ with |r| ≤ log(2)/2, as (1 + u·r)·p·q, four parts. 2ⁿ is p·q,
        since 2¹²⁸ is no float though e^88.7 is, nor is e⁻⁹⁰ though 100·e⁻⁹⁰ is."""
        b = self.b
        shifted, r = self._reduced(x)
        r = r if rest is None else b.fadd(r, rest)
        whole = b.sub(self.as_ints(shifted), self.as_ints(self.number(ROUND)))
        half = b.ashr(whole, self.integer(1))
        powers = self._power_of_two(half), self._power_of_two(b.sub(whole, half))
        return self.polynomial(r, EXP), r, *powers

    def _times_exp(self, y: Value | None, x: Value, rest: Value | None = None) -> Value:
        """y·eˣ, rounded once less than the product of both; None: eˣ."""
        b = self.b
        u, r, first, second = self._exp_parts(x, rest)
        product = self.fma(u, r, self.number(1.0)) if y is None else self.fma(y, b.fmul(u, r), y)
        return b.fmul(b.fmul(product, first), second)

    def _reduced(self, x: Value) -> tuple[Value, Value]:
        """n + `ROUND` and r with x = n·log 2 + r and |r| ≤ log(2)/2."""
        shifted = self.fma(x, self.number(1 / math.log(2)), self.number(ROUND))
        n = self.b.fsub(shifted, self.number(ROUND))
        r = self.fma(n, self.number(-0.693359375), x)
        return shifted, self.fma(n, self.number(2.12194440e-4), r)

    def _power_of_two(self, n: Value) -> Value:
        return self.as_floats(self.b.shl(self.b.add(n, self.integer(127)), self.integer(23)))

    def log(self, x: Value) -> Value:
        """log x = n·log 2 + log(1 + f) with √½ ≤ 1 + f ≤ √2."""
        b = self.b
        tiny = self.less(x, self.number(1.17549435e-38))
        scaled = b.select(tiny, b.fmul(x, self.number(2.0**23)), x)
        bits = b.sub(self.as_ints(scaled), self.as_ints(self.number(math.sqrt(0.5))))
        n = b.ashr(bits, self.integer(23))
        mantissa = self.as_floats(b.sub(self.as_ints(scaled), b.shl(n, self.integer(23))))
        n = b.sub(n, b.select(tiny, self.integer(23), self.integer(0)))
        f = b.fsub(mantissa, self.number(1.0))
        square = b.fmul(f, f)
        rest = b.fmul(b.fmul(square, f), self.polynomial(f, LOG))
        exponent = b.sitofp(n, self.floats)
        result = self.fma(exponent, self.number(-2.12194440e-4), rest)
        result = self.fma(square, self.number(-0.5), result)
        result = self.fma(exponent, self.number(0.693359375), b.fadd(result, f))
        result = b.select(self.less(x, self.number(0.0)), self.number(math.nan), result)
        zero = b.fcmp_ordered("==", x, self.number(0.0))
        result = b.select(zero, self.number(-math.inf), result)
        # Infinity and NaN are their own logarithms.
        finite = self.less(x, self.number(math.inf))
        return b.select(finite, result, x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + e⁻ˣ), below 0 eˣ / (1 + eˣ)."""
        one = self.number(1.0)
        e = self._times_exp(None, self._below_0(x))
        over = self.b.select(self.less(self.number(0.0), x), one, e)
        return self.b.fdiv(over, self.b.fadd(one, e))

    def silu(self, x: Value) -> Value:
        """x·σ(x) = x / (1 + e⁻ˣ), below 0 x·eˣ / (1 + eˣ): e⁸⁹ is no float though 89·e⁻⁸⁹ is.

        Where σ(x) is wanted too, for the gradient, LLVM finds that most of its code is the same.
        """
        b, zero, down = self.b, self.number(0.0), self._below_0(x)
        # −∞·0 is no number, here as in the formula.
        below = self.fma(x, zero, self._times_exp(down, down))
        over = b.select(self.less(zero, x), x, below)
        return b.fdiv(over, b.fadd(self.number(1.0), self._times_exp(None, down)))

    def _below_0(self, x: Value) -> Value:
        """−|x|, no further than eˣ goes."""
        return self.b.fneg(self.at_most(self.absolute(x), FARTHEST))

    def expm1(self, x: Value) -> Value:
        """eˣ − 1 for x ≤ 0: 2ⁿ·(eʳ − 1) + (2ⁿ − 1) with |r| ≤ log(2)/2; −1 below −20."""
        b, lowest = self.b, self.number(-20.0)
        inside = b.select(self.less(x, lowest), lowest, x)
        shifted, r = self._reduced(inside)
        # The low bits of `shifted` are n, and the high ones are shifted out.
        power = self._power_of_two(self.as_ints(shifted))
        rest = self.fma(b.fmul(r, r), self.polynomial(r, EXPM1), r)
        return self.fma(power, rest, b.fsub(power, self.number(1.0)))

    def tanh(self, x: Value) -> Value:
        """−t/(t + 2) with t = exp(−2|x|) − 1, and the sign of x."""
        t = self.expm1(self.b.fmul(self.absolute(x), self.number(-2.0)))
        size = self.b.fdiv(t, self.b.fadd(t, self.number(2.0)))
        return self.intrinsic("copysign", size, x)

    def softplus(self, x: Value) -> Value:
        """max(x, 0) + log(1 + e) with e = exp(−|x|); Kahan's correction keeps small e."""
        b, one = self.b, self.number(1.0)
        e = self.exp(b.fneg(self.absolute(x)))
        u = b.fadd(one, e)
        log = b.fdiv(b.fmul(self.log(u), e), b.fsub(u, one))
        log = b.select(b.fcmp_ordered("==", u, one), e, log)
        return b.fadd(self.maximum(x, self.number(0.0)), log)

    def erf(self, x: Value) -> Value:
        """x·P(x²) up to 1; 1 − exp(−x²)·Q(1/x)/x up to 4; beyond it is 1 in float32."""
        b = self.b
        near = b.fmul(x, self.polynomial(b.fmul(x, x), ERF_NEAR))
        size = self.clamp(self.absolute(x), 1.0, 4.0)
        inverse = b.fdiv(self.number(1.0), size)
        tail = b.fmul(self.exp(b.fneg(b.fmul(size, size))), inverse)
        tail = b.fmul(tail, self.polynomial(inverse, ERFCX))
        far = self.intrinsic("copysign", b.fsub(self.number(1.0), tail), x)
        return b.select(self.less(self.number(1.0), self.absolute(x)), far, near)

    def gelu(self, x: Value) -> Value:
        """x·Φ(x) = max(x, 0) − |x|·P(s)·exp(−x²/2) with s = (4 − |x|)/(4 + |x|)."""
        b, half, four = self.b, self.number(-0.5), self.number(4.0)
        size = self.at_most(self.absolute(x), 14.0)
        s = b.fdiv(b.fsub(four, size), b.fadd(four, size))
        square = b.fmul(size, size)
        # What x² loses is x²·6e-8 of the result: at x = −10 60 units of its last place.
        lost = b.fmul(self.fma(size, size, b.fneg(square)), half)
        tail = b.fmul(size, self.polynomial(s, UPPER_TAIL))
        rest = self._times_exp(tail, b.fmul(square, half), lost)
        # −∞·0 is no number, here as in the formula.
        above = b.select(self.less(self.number(0.0), x), x, b.fmul(x, self.number(0.0)))
        return b.fsub(above, rest)

    def selu(self, x: Value) -> Value:
        """λx, or λα(eˣ − 1) below 0."""
        b = self.b
        scale, alpha = self.number(ops.SELU_SCALE), self.number(ops.SELU_SCALE * ops.SELU_ALPHA)
        below = b.fmul(alpha, self.expm1(x))
        return b.select(self.less(self.number(0.0), x), b.fmul(scale, x), below)

    def power(self, x: Value, y: Value) -> Value:
        """xʸ = exp(y·log|x|), with the sign of xʸ for whole y, and NaN for other y below 0."""
        b, one = self.b, self.number(1.0)
        absolute = self.absolute(x)
        size = self._exp_of_double(b.fmul(b.fpext(y, self.doubles), self._double_log(absolute)))
        size = b.select(b.fcmp_ordered("==", absolute, one), one, size)
        whole = b.fcmp_ordered("==", self.intrinsic("floor", y), y)
        half = b.fmul(y, self.number(0.5))
        odd = b.fcmp_ordered("!=", self.intrinsic("floor", half), half)
        below = b.and_(self.less(x, self.number(0.0)), self.less(absolute, self.number(math.inf)))
        negative = b.icmp_signed("<", self.as_ints(x), self.integer(0))
        result = b.select(b.and_(negative, odd), b.fneg(size), size)
        result = b.select(b.and_(below, b.not_(whole)), self.number(math.nan), result)
        zero = b.fcmp_ordered("==", y, self.number(0.0))
        return b.select(zero, one, result)

    def _exp_of_double(self, x: Value) -> Value:
        """eˣ of a double: what a float loses of 88 is 32 units of the result's last place."""
        b = self.b
        for sign, bound in (("<", -200.0), (">", 200.0)):
            limit = self.double(bound)
            x = b.select(b.fcmp_ordered(sign, x, limit), limit, x)
        high = b.fptrunc(x, self.floats)
        low = b.fptrunc(b.fsub(x, b.fpext(high, self.doubles)), self.floats)
        return self.exp(high, low)

    def _double_log(self, x: Value) -> Value:
        """log x of a float from 0 on, as a double: n·log 2 + 2·artanh s with s = f / (2 + f)."""
        b, long = self.b, ir.VectorType(ir.IntType(64), self.lanes)
        bits = b.bitcast(b.fpext(x, self.doubles), long)
        above = b.sub(bits, b.bitcast(self.double(math.sqrt(0.5)), long))
        n = b.ashr(above, ir.Constant(long, [52] * self.lanes))
        mantissa = b.sub(bits, b.shl(n, ir.Constant(long, [52] * self.lanes)))
        m = b.bitcast(mantissa, self.doubles)
        s = b.fdiv(b.fsub(m, self.double(1.0)), b.fadd(m, self.double(1.0)))
        square = b.fmul(s, s)
        result = self.double(1 / 13)
        for k in (11, 9, 7, 5, 3, 1):
            result = b.fadd(b.fmul(result, square), self.double(1 / k))
        exponent = b.sitofp(b.trunc(n, self.ints), self.doubles)
        result = b.fmul(b.fmul(result, s), self.double(2.0))
        result = b.fadd(b.fmul(exponent, self.double(math.log(2))), result)
        zero = b.fcmp_ordered("==", x, self.number(0.0))
        result = b.select(zero, self.double(-math.inf), result)
        # Infinity and NaN are their own logarithms.
        return b.select(self.less(x, self.number(math.inf)), result, b.fpext(x, self.doubles))

    def compare(self, sign: str, x: Value, y: Value) -> Value:
        """A comparison of floats, whole numbers, or truth values."""
        if x.type == self.floats:
            return self.b.fcmp_ordered(sign, x, y)
        if x.type == self.bools:
            return self.b.icmp_unsigned(sign, x, y)
        return self.b.icmp_signed(sign, x, y)


def _short(kind: ir.Type) -> str:
    return "f32" if kind == F32 else str(kind)


def _float32(value: float) -> float:
    import struct

    if math.isfinite(value):
        value = struct.unpack("f", struct.pack("f", value))[0]
    return value


EMITTERS: dict[Op, Callable[..., Value]] = {
    ops.add: lambda e, x, y: e.b.fadd(x, y),
    ops.subtract: lambda e, x, y: e.b.fsub(x, y),
    ops.multiply: lambda e, x, y: e.b.fmul(x, y),
    ops.divide: lambda e, x, y: e.b.fdiv(x, y),
    ops.power: Emitter.power,
    ops.negative: lambda e, x: e.b.fneg(x),
    ops.reciprocal: lambda e, x: e.b.fdiv(e.number(1.0), x),
    ops.exp: Emitter.exp,
    ops.log: Emitter.log,
    ops.sqrt: lambda e, x: e.intrinsic("sqrt", x),
    ops.absolute: Emitter.absolute,
    ops.maximum: Emitter.maximum,
    ops.minimum: Emitter.minimum,
    ops.greater: lambda e, x, y: e.compare(">", x, y),
    ops.greater_equal: lambda e, x, y: e.compare(">=", x, y),
    ops.equal: lambda e, x, y: e.compare("==", x, y),
    ops.where: lambda e, c, x, y: e.b.select(c, x, y),
    ops.stop_gradient: lambda e, x: x,
    ops.relu: lambda e, x: e.maximum(x, e.number(0.0)),
    ops.leaky_relu: lambda e, x, slope: e.b.select(e.less(e.number(0.0), x), x, e.b.fmul(slope, x)),
    ops.sigmoid: Emitter.sigmoid,
    ops.tanh: Emitter.tanh,
    ops.softplus: Emitter.softplus,
    ops.silu: Emitter.silu,
    ops.erf: Emitter.erf,
    ops.gelu: Emitter.gelu,
    ops.selu: Emitter.selu,
}
"""What each elementwise op is in LLVM IR: (emitter, *operands) → value."""
