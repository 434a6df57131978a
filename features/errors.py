"""The one error that a wrong catalog raises while it is loaded; kernels raise nothing."""

from streams.errors import DipperError


class CatalogError(DipperError):
    """A catalog that cannot be used: one sentence with file, line and remedy."""
