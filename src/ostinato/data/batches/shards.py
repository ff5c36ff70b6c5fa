"""The rows of a global batch that each shard has."""

from ostinato.errors import ConfigError


def rows_of(shard: tuple[int, int], rows: int) -> range:
    """The contiguous rows of a batch that belong to a shard. Shards differ by one row at the most.

    Args:
        shard: (index, count).
        rows: the number of rows of the global batch.

    Raises:
        ConfigError: there is no such shard.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ConfigError(f"there is no shard {index} of {count}")
    return range(index * rows // count, (index + 1) * rows // count)
