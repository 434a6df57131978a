"""The one error that a wrong catalog raises while it is loaded; kernels raise nothing."""


class CatalogError(ValueError):
    """A catalog that cannot be used: one sentence with file, line and remedy."""
