"""Look for packages where upstream's CPython does.

Debian's site, which is frozen into the interpreter, adds dist-packages only; a
virtual environment it treats as upstream does.
"""

import os
import site
import sys

if sys.prefix == sys.base_prefix:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site.addsitedir(os.path.join(sys.prefix, "lib", version, "site-packages"))
