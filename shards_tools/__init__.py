"""Build shards from a folder of images, and read batches from shards."""

from shards_tools.sources import register_source
from shards_tools.sources.source import Source, SourceImage

__all__ = ["Source", "SourceImage", "register_source"]
