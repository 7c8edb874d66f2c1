"""Runs `celery` with the given words, and ends with the process that started it."""
import ctypes
import os
import signal
import sys

parent = int(sys.argv[1])
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit("celeriac: the worker is gone")
sys.argv = ["celery"] + sys.argv[2:]
sys.path.insert(0, os.getcwd())
from celery.__main__ import main  # noqa: E402

main()
