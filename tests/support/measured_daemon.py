"""`campaignd run` as a program that reports its memory on SIGUSR1.

Each report is a line of JSON in the file that MEASURES names: the objects that the garbage
collector knows, by type, and what tracemalloc counted if TRACED is set, which makes the daemon
slower.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tracemalloc
from collections import Counter

from daemon.cli.main import main


def print_memory(*_: object) -> None:
    """Collect garbage, then write one line."""
    gc.collect()
    objects = gc.get_objects()
    types = Counter(type(each).__qualname__ for each in objects)
    report = {
        "objects": len(objects),
        "types": dict(types.most_common(60)),
        "traced": tracemalloc.get_traced_memory()[0],
    }
    with open(os.environ["MEASURES"], "a", encoding="utf-8") as file:
        file.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    if os.environ.get("TRACED"):
        tracemalloc.start()
    signal.signal(signal.SIGUSR1, print_memory)
    sys.argv[0] = "campaignd"
    main()
