"""The one error that a wrong model raises while it is loaded or trained; kernels raise nothing."""

from streams.errors import DipperError


class ModelError(DipperError):
    """A model, scorecard or calibration that cannot be used: one sentence with file, line and
    remedy.
    """
