"""``python -m platform``: run the standard module's own command line."""

import platform

exec(platform.__spec__.loader.get_code("platform"))  # type: ignore[union-attr]
