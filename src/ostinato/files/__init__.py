"""Everything that touches the disk: checked reads, atomic writes, lines, the cache, locks."""
