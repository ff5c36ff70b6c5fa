"""Everything that touches the disk, once: vetted reads, whole writes, lines, the cache, locks."""
