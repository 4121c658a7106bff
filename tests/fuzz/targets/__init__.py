"""One module per decoder that eats other people's bytes.

Each has `one_input(data: bytes) -> None`, which may raise RemoteProtocolError and nothing
else, and `seeds() -> list[bytes]`, inputs to start from. A module put here is fuzzed.
"""
