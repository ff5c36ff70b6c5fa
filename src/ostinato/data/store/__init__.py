"""What the cache keeps: texts, rows, vocabularies and ids, memory-mapped."""
