"""recipes/environment.sh: two calls at once."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TWO_CALLS = """
source "$1/recipes/environment.sh"
calls=$2
_make_environment() { echo "begin" >>"$calls" && sleep 0.5 && echo "end" >>"$calls"; }
make_environment deploy &
make_environment test &
wait
"""


def test_calls_install_one_after_the_other(tmp_path):
    """While one installs there is no stamp: another would take the environment for an unfinished one and remove it."""
    command = ["bash", "-c", TWO_CALLS, "-", str(ROOT), str(tmp_path / "calls")]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "calls").read_text().split() == ["begin", "end"] * 2
