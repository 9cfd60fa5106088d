"""Gives ``Reward`` to users' modules that import it from where it lay before tasks had a room."""

from nasrunner.children.tasks.reward import Reward

__all__ = ["Reward"]
