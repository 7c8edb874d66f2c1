"""Tasks that do what no task should."""
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time

from proj import FOLDER, app, note


@app.task(time_limit=1)
def blocks_in_c():
    # Holds the interpreter: no handler of Python's runs before it returns.
    ctypes.PyDLL(None).sleep(600)


@app.task(time_limit=1)
def ignores_everything():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(600)


@app.task
def daemonises():
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            note("daemon", os.getpid())
            # It writes no result, and must not be taken for the child.
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)
    return "left one behind"


@app.task
def forks_and_returns():
    # Two processes come out of this call; only one of them is the child.
    if os.fork() == 0:
        note("twins", os.getpid())
        return "the other"
    return "the child"


@app.task
def prints_endlessly(mebibytes):
    line = "x" * 65_535
    for _ in range(mebibytes * 16):
        sys.stdout.write(line + "\n")
    return mebibytes


class WithoutRepr:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __str__(self):
        raise RuntimeError("no text")


class Unspeakable(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")

    def __str__(self):
        raise RuntimeError("no text")


@app.task
def raises_what_has_no_repr():
    raise Unspeakable()


@app.task
def raises_with_arguments_without_repr():
    raise ValueError(WithoutRepr())


@app.task
def returns_what_has_no_repr():
    return WithoutRepr()


@app.task
def raises_no_exception():
    raise KeyboardInterrupt()


@app.task
def imports_what_crashes():
    path = os.path.join(FOLDER, "crashing.py")
    with open(path, "w") as file:
        file.write("import ctypes\nctypes.string_at(0)\n")
    # The folder of a project is in Python's path only while the app is imported, as with Celery.
    sys.path.insert(0, FOLDER)
    importlib.invalidate_caches()
    import crashing  # noqa: F401


@app.task
def closes_everything():
    os.closerange(0, 256)
    return "closed"


@app.task(time_limit=1)
def spawns_and_hangs():
    process = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
    note("spawned", process.pid)
    time.sleep(600)
