"""Why an app cannot run here, told with Python's own traceback and a line of advice."""

from __future__ import annotations

import os
import traceback
from typing import Any, Dict, Optional

#: What the traceback is cut down by: the way from the start of the process to the app.
_OURS = ("<celeriac>/", "<frozen importlib", "<string>")


class Failed(Exception):
    """The app cannot be run; `why` is a word of the contract."""

    def __init__(self, why: str, advice: str, cause: Optional[BaseException] = None) -> None:
        super().__init__(advice)
        self.why = why
        self.advice = advice
        self.cause = cause

    def frame(self) -> Dict[str, Any]:
        """What is told to the worker."""
        text = told(self.cause) if self.cause is not None else ""
        return {"failed": {"why": self.why, "traceback": text, "advice": self.advice}}


def told(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, without what stands before the app's code."""
    whole = traceback.TracebackException(type(error), error, error.__traceback__)
    part: Optional[traceback.TracebackException] = whole
    while part is not None:
        frames = list(part.stack)
        while len(frames) > 1 and frames[0].filename.startswith(_OURS):
            frames.pop(0)
        part.stack = traceback.StackSummary.from_list(frames)
        part = part.__cause__ or part.__context__
    return "".join(whole.format())


def of_import(error: BaseException, app: str) -> Failed:
    """What came of importing `app`, or the modules of its tasks."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name
        if module == "celery" or module == "kombu":
            return Failed("no_celery", _no_celery(), error)
        wanted = app.partition(":")[0]
        if wanted == module or wanted.startswith(module + "."):
            advice = (
                f"there is no module `{module}` in {os.getcwd()} or on Python's path: "
                "run it where the project is, or say where with --workdir"
            )
            return Failed("import", advice, error)
        advice = f"install what brings the module `{module}` into this Python's environment, or choose another with --python"
        return Failed("import", advice, error)
    if isinstance(error, ImportError) and "partially initialized module" in str(error):
        advice = "two modules import each other: import one of them within the function that needs it"
        return Failed("import", advice, error)
    if isinstance(error, AttributeError) and "partially initialized module" in str(error):
        advice = "two modules import each other, or a file has the name of a module that it imports"
        return Failed("import", advice, error)
    return Failed("import", f"importing `{app}` failed: the last line of the traceback says why", error)


def no_celery(error: BaseException) -> Failed:
    """Celery is not there."""
    return Failed("no_celery", _no_celery(), error)


def _no_celery() -> str:
    import sys

    return (
        f"{sys.executable} has no Celery: activate the app's virtual environment, "
        "or name its interpreter with --python"
    )
