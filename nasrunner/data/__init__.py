"""Data sets as Lightning data modules that keep their examples in memory.

``conf/data/x.yaml`` belongs to ``nasrunner/data/x.py``. How to write one for data of your own:
``TensorDataModule`` in ``nasrunner/data/tensors.py``.
"""
