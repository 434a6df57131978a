"""How large a generated test may be: full size compiled, small without compilation."""

import os

_DIVISORS = {"jit": 1, "checked": 4, "plain": 20}


def run_kind() -> str:
    """Return "plain" without compilation, "checked" with bounds checks, "jit" otherwise."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
        return "plain"
    if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in {"", "0"}:
        return "checked"
    return "jit"


def sized(count: int) -> int:
    """Return how many examples or rows, of `count` wanted, this kind of run affords (one or more).

    For `@settings(max_examples=sized(200))` and for the sizes of arrays alike.
    """
    return max(1, count // _DIVISORS[run_kind()])
