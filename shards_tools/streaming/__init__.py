"""Images that stream from a store while a training uses them, through webdataset's pipeline."""
