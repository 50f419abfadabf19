"""A CVAT of these tests' own: the contract tests beside them count on the numbers of what they make."""

from tests.stand_ins.conftest import cvat, engine

__all__ = ["cvat", "engine"]
