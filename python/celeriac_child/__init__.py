"""Runs the tasks of a Celery app for a celeriac worker; spec/child.md says how the two speak.

It travels in the worker, and needs the standard library and the app's own Celery (5.3 to 5.7).
"""
