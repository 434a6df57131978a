"""How kernels become machine code: inner ones wait as bitcode, the one that Python calls links all.

Numba optimises each function together with everything that it calls and compiles the lot to machine
code with a wrapper for Python, and does so again for its caller, and for that one's caller. Nobody
calls an inner kernel but another kernel, so here it stays bitcode, and the optimiser sees each of
its lines once, in the outermost kernel. That is half of the time of a cold start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.environment import lookup_environment

_ENVIRONMENT = "_ZN08NumbaEnv"


class InnerLibrary(JITCodeLibrary):  # type: ignore[misc]  # Numba ships no types
    """The code of a kernel that other kernels link in; never machine code by itself."""

    @property
    def codegen(self) -> Any:
        """The code generator, but that nothing here has an address to set."""
        return _Unset(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002 nothing has an address
        """Return null, as Numba does for a wrapper that does not exist."""
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        """Return what the cache keeps: bitcode."""
        return (self.name, "bitcode", self._get_module_for_linking().as_bitcode())

    def _optimize_final_module(self) -> None:
        """Leave that to the kernel that links this one in."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class WholeLibrary(JITCodeLibrary):  # type: ignore[misc]  # as above
    """The code of a kernel that Python calls, with everything that it reaches."""

    def _optimize_final_module(self) -> None:
        """Optimise once: Numba's first, cheap pass only serves reference counts, of which kernels
        have none.

        What is linked in is nobody else's, and the optimiser may know it: then arguments that a
        callee does not need, often hundreds, are dropped, and a kernel with one caller melts in.
        """
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        passes, builder = self._codegen._module_pass_manager()  # noqa: SLF001 as Numba's own
        with self._recorded_timings.record("Module passes", builder):
            passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        super()._finalize_final_module()
        for variable in self._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT):
                environment = lookup_environment(variable.name)
                if environment is not None:
                    self._codegen.set_env(variable.name, environment)


class _Unset:
    """A code generator that sets no environment."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: the outermost kernel sets those of all that it links in."""


@contextmanager
def building(codegen: Any, library: type[JITCodeLibrary]) -> Iterator[None]:
    """Let Numba's code generator make libraries of this class; under the compiler's lock."""
    before = codegen._library_class  # noqa: SLF001 no public switch
    codegen._library_class = library  # noqa: SLF001 as above
    try:
        yield
    finally:
        codegen._library_class = before  # noqa: SLF001 as above
