"""p2pchat: a messenger for small offices, one daemon a machine, no server.

Decides: the version, read from here by the build. Does not know: anything else; it imports
nothing, so that asking for the version costs nothing.
"""

__version__ = "0.1.0"
