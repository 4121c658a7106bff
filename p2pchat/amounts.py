"""How an amount is said to a person.

Decides: units and digits, the same in every sentence whichever floor writes it. Does not know: what is
counted.
"""

from __future__ import annotations


def amount(count: int) -> str:
    """So many bytes as a sentence says them, `1536` as `1.5 kB`: decimal units, as disks are sold."""
    value = float(count)
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
