"""The stage of the engine's plays, for members who mean ill."""

from tests.engine.conftest import stage

__all__ = ["stage"]
