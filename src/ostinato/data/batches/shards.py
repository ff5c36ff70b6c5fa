"""Which rows of a global batch are whose."""

from ostinato.errors import ConfigError


def rows_of(shard: tuple[int, int], rows: int) -> range:
    """The rows of a batch that belong to a shard: contiguous, and as many as any other's but one.

    Args:
        shard: (index, count).
        rows: of the global batch.

    Raises:
        ConfigError: there is no such shard.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ConfigError(f"there is no shard {index} of {count}")
    return range(index * rows // count, (index + 1) * rows // count)
