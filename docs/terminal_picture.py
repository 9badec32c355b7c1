"""Makes an SVG picture of a terminal.

tmux capture-pane -e -p | python docs/terminal_picture.py TITLE > FILE.svg
"""

import io
import re
import sys

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

WIDTH = 100

screen = Text.from_ansi(sys.stdin.read().rstrip())
console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
console.print(screen)
# without the fonts that it would fetch from elsewhere
plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
print(console.export_svg(title=sys.argv[1], code_format=plain, unique_id=sys.argv[1].replace(" ", "-")))
