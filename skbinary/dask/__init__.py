"""Train on Dask collections."""
