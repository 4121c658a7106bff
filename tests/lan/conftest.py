"""Real daemons on real hosts: they are taken down whatever ends the session."""

from tests.kit.ending import ends_well

__all__ = ["ends_well"]
