"""Pages: chapters, what they print and draw, and the ledger of claims."""
