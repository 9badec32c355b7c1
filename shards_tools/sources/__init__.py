"""Sources of images, one file per layout of a data set."""

from shards_tools.sources.source import SOURCES, Source, SourceImage, register_source

__all__ = ["SOURCES", "Source", "SourceImage", "register_source"]
