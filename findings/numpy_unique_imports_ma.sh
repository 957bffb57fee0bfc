#!/usr/bin/env bash
# NumPy 2.3 and later: the first plain np.unique of a process imports numpy.ma, a package of its own.
#
# numpy/__init__.py imports numpy.ma when somebody first asks for it. Since 2.3 np.unique itself asks,
# to see whether its argument is masked, unless indices, inverse or counts are wanted as well; up to
# 2.2 it did not. So a call that computes does an import: 10 ms at the first time, an import lock held
# meanwhile, and one more reason to fork no process that has threads.
#
# Seen with Python 3.11, whether numpy.ma is there: after the import of numpy; after a np.unique with
# return_inverse; after a plain one:
#   2.2.6: False False False
#   2.3.5: False False True
#   2.4.6: False False True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'PYTHON'
import sys
import numpy as np

found = ["numpy.ma" in sys.modules]
np.unique(np.array([1.0, 2.0]), return_inverse=True)
found.append("numpy.ma" in sys.modules)
np.unique(np.array([1.0, 2.0]))
found.append("numpy.ma" in sys.modules)
print(f"{np.__version__}:", *found)
sys.exit(found != [False, False, np.__version__ >= "2.3"])
PYTHON
for version in 2.2.6 2.3.5 2.4.6; do
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet "numpy==$version"
    "$folder/venv/bin/python" "$folder/run.py"
done
