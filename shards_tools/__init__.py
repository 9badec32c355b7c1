"""From a folder of images to shards, and from shards to batches."""
