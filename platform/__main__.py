"""``python -m platform``: what the standard module prints when it is run."""

import platform

exec(platform.__spec__.loader.get_code("platform"))  # type: ignore[union-attr]
