"""Counter-based random numbers: no generator is advanced, each number is computed from its place.

The number at (seed, step, stream, element) is the same in every engine, on every thread and after
every resumption, so both engines draw the same dropout mask.
"""

from typing import Any

import numpy as np

_MASK = 0xFFFFFFFF


Words = Any
"""An int, or an array of uint64."""


def mix(x: Words) -> Words:
    """Scramble 32 bits one to one: a change of one bit flips every other with probability ½.

    C. Wellons' "lowbias32", found by search: a bias of 0.17 against 1.2 for murmur3's finalizer.
    """
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def keys(seed: Words, step: Words, stream: int) -> tuple[Words, Words]:
    """Two words for the numbers of one node in one step, or in each of many."""
    first = mix((mix(mix(seed & _MASK) ^ (step & _MASK)) + stream + 1) & _MASK)
    return first, mix(first ^ 0x9E3779B9)


def uniform(seed: Any, step: Any, stream: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1), multiples of 2⁻²⁴ and so exact in float32.

    Two rounds with a key before each: after one alone, two nodes would draw permutations of the
    same numbers, since `element ^ key` visits the same words.
    """
    first, second = keys(int(seed), int(step), stream)
    x = np.arange(int(np.prod(shape)), dtype=np.uint32)
    for key in (first, second):
        x ^= np.uint32(key)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return ((x >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).reshape(shape)
