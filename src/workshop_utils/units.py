"""Quantities into words: decimal GB for model footprints, GiB for what a driver reports."""

GB = 10**9
GIB = 2**30
MIB = 2**20


def format_gb(size_bytes: float) -> str:
    """Return decimal gigabytes, for example ``54.9 GB``; below 0.1 GB in MB, as in ``23.1 MB``."""
    if abs(size_bytes) < GB / 10:
        return f"{size_bytes / 10**6:.1f} MB"
    return f"{size_bytes / GB:.1f} GB"


def format_gib(size_bytes: float) -> str:
    """Return binary gibibytes, for example ``79.2 GiB``; below 0.1 GiB in MiB, as in ``23.1 MiB``."""
    if abs(size_bytes) < GIB / 10:
        return f"{size_bytes / MIB:.1f} MiB"
    return f"{size_bytes / GIB:.1f} GiB"


def format_share(share: float) -> str:
    """Return a share of 1 in percent, a small one with a decimal: ``42%``, ``0.3%``."""
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"
