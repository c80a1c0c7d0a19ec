"""Data sets that the library draws itself."""
