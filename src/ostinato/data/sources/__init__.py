"""Sources of data: files, folders, tables, pairs, Python values and corpora by name."""
