"""Named data sets: one table (`catalogue`) and a reader for each public layout."""
