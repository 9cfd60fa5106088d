"""Searchers: each is a policy for ``choose``, in a file of its own.

``conf/searcher/x.yaml`` belongs to ``x.py``, as ``x_variant.yaml`` does. Two files serve several
methods under their usual names: ``optuna.py`` (tpe, gp, cmaes), and ``policy/policy_gradient.py``
(reinforce, ppo).
"""
