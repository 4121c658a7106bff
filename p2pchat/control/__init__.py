"""How the commands of one user talk to his daemon: JSON-RPC 2.0, one object per line.

Decides: the transport. Does not know: which operations there are (`operations/`).
Imports nothing: a command that only asks must start in milliseconds.
"""
