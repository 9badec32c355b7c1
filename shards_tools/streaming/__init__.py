"""Stream images from a store during a training, through webdataset's pipeline."""
