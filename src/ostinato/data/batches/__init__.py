"""From ids and examples to the batches of an epoch: windows, buckets, shards."""
