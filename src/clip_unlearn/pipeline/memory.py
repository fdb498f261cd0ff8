"""How much memory a job took."""

from __future__ import annotations

import sys


def peak_resident_bytes() -> int:
    """Largest resident size of this process so far, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # only Linux counts in kilobytes
