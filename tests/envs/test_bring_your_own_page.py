"""docs/bring_your_own.md, run from top to bottom. Its OpenEnv block is run where there is a server: test_adapters_openenv.py."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bring_your_own.md"


def test_every_block_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    code = "\n".join(blocks) + "\nprint('all of it')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("all of it\n"), done.stderr


def test_the_examples_are_as_short_as_it_says() -> None:
    text = PAGE.read_text()
    for name, file in (("shop", "shop_env.py"), ("cafe", "cafe_env.py")):
        lines = len((ROOT / "examples" / name / file).read_text().splitlines())
        assert lines < 40 and re.search(rf"`examples/{name}`[^`]*{lines} lines", text), (name, lines)
