"""What the cache keeps, memory-mapped: texts, rows, vocabularies and ids."""
