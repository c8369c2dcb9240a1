"""From raw images to tables: sources, packed shards, splits, long tails, checks."""
