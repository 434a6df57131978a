"""The one error that a wrong policy, platform or institution raises while it is loaded; kernels
raise nothing.
"""

from pathlib import Path

from streams.errors import DipperError


class PolicyError(DipperError):
    """A policy that cannot be used: one sentence with file, line, field and remedy."""


def fault(path: Path, line: int, field: str, what: str) -> PolicyError:
    """Make the sentence `FILE:LINE: FIELD: what is wrong; what to do.`; line 0 is left out."""
    place = f"{path}:{line}" if line else f"{path}"
    return PolicyError(f"{place}: {field}: {what}" if field else f"{place}: {what}")
