"""Images, tags and batches as a training reads them, from shards to augmented uint8 batches."""
