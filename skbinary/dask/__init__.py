"""Train on Dask collections, on the workers of a cluster that hold the rows."""

from skbinary.dask.classifiers import DaskTorchLogisticClassifier, DaskTorchMLPClassifier

__all__ = ["DaskTorchLogisticClassifier", "DaskTorchMLPClassifier"]

# Pickles name public paths, which survive a new layout.
DaskTorchLogisticClassifier.__module__ = DaskTorchMLPClassifier.__module__ = "skbinary.dask"
