"""Celery app under celeriac: takes the program from its standard input and becomes the fork server."""
import sys

# As for the `celery` command, modules of the working directory must not hide those of the library.
sys.path[:] = [folder for folder in sys.path if folder]

import importlib.abc  # noqa: E402
import importlib.machinery  # noqa: E402
import json  # noqa: E402
import linecache  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402


class Modules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes modules of sources that stand in no file, whose lines tracebacks show all the same."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        package = any(other.startswith(name + ".") for other in self.sources)
        return importlib.machinery.ModuleSpec(
            name, self, origin="<celeriac>/" + name.replace(".", "/"), is_package=package
        )

    def get_source(self, name):
        return self.sources[name]

    def exec_module(self, module):
        origin, source = module.__spec__.origin, self.sources[module.__name__]
        linecache.cache[origin] = (len(source), None, source.splitlines(True), origin)
        exec(compile(source, origin, "exec"), module.__dict__)


def received(control, size):
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


control = socket.socket(fileno=os.dup(0))
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
first = json.loads(received(control, int.from_bytes(received(control, 4), "little")))
sys.meta_path.insert(0, Modules(first["modules"]))
__import__(first["main"])
sys.modules[first["main"]].main(control)
