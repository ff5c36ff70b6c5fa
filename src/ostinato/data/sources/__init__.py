"""Where data comes from: files, folders, tables, pairs, Python values and corpora by name."""
