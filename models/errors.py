"""The one error that a wrong model raises while it is loaded or trained; kernels raise nothing."""


class ModelError(ValueError):
    """A model, scorecard or calibration that cannot be used: one sentence with file, line and
    remedy.
    """
