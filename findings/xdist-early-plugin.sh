#!/usr/bin/env bash
# pytest-xdist 3.8.0, pytest 9.2.0: a plugin that says how many workers there are is not asked where `-p` loads it.
# The first answer to `pytest_xdist_auto_num_workers` counts, and pytest asks who was registered last first. xdist answers
# that itself, and comes, as every installed plugin, after those of `-p`: its own answer, one worker a core, wins without a word.
# The same function in a conftest.py is asked, and so is one marked `tryfirst`. `pytest_xdist_make_scheduler` of the same plugin
# is asked from either place, as xdist marks its own `trylast`. Seen, of a plugin that says three:
#   by -p: not asked
#   by -p, tryfirst: 3 workers
#   in conftest.py: 3 workers
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0
cd "$scratch"
mkdir tests
echo 'def test_one(): pass' >tests/test_one.py
plugin='def pytest_xdist_auto_num_workers():
    open("asked", "w").close()
    return 3'
seen() {  # OPTION..: runs pytest with them, and says whether the plugin was asked and how many workers came
    rm -f asked
    PYTEST_XDIST_AUTO_NUM_WORKERS='' PYTHONPATH=. venv/bin/python -m pytest "$@" -n auto tests >said
    if [ -e asked ]; then grep -o '[0-9]* workers' said | sort -u; else echo 'not asked'; fi
}
printf '%s\n' "$plugin" >plain.py
printf 'import pytest\n\n\n@pytest.hookimpl(tryfirst=True)\n%s\n' "$plugin" >early.py
by_option="$(seen -p plain)" tryfirst="$(seen -p early)"
cp plain.py tests/conftest.py
in_conftest="$(seen)"
printf '%s\n' "by -p: $by_option" "by -p, tryfirst: $tryfirst" "in conftest.py: $in_conftest"
[ "$by_option" = 'not asked' ]
[ "$tryfirst" = '3 workers' ]
[ "$in_conftest" = '3 workers' ]
