"""The memory bank; the short name of `fglib.models.memory`."""

from fglib.models.memory import MemoryBank

__all__ = ["MemoryBank"]
