"""Children on the workers of a Dask cluster, wherever its workers are."""
