"""Train a model from a frame of replayed features: control path, may use lightgbm."""

from models.train.fit import TrainingResult, train
from models.train.metrics import Estimate, Metrics, measure

__all__ = ["Estimate", "Metrics", "TrainingResult", "measure", "train"]
