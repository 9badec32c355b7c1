"""Build shards from a folder of images, and read batches from shards."""
