"""Stands in for libfaketime: gives the Python code of one process a wall clock that is wrong.

It shifts time.time, time.time_ns and the arguments-less forms of time.localtime, time.gmtime and time.strftime, and
datetime's now, utcnow and today by way of a subclass. What C code reads by itself, and CLOCK_MONOTONIC, stay right.
"""

import datetime as dt
import os
import time

SHIFT = float(os.environ.get("WRONG_CLOCK_SECONDS", "0"))
_time, _time_ns, _localtime, _gmtime = time.time, time.time_ns, time.localtime, time.gmtime
_datetime = dt.datetime


class _Meta(type(_datetime)):
    def __instancecheck__(cls, instance):
        return isinstance(instance, _datetime)

    def __subclasscheck__(cls, other):
        return issubclass(other, _datetime)


class _Shifted(_datetime, metaclass=_Meta):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + dt.timedelta(seconds=SHIFT)

    @classmethod
    def utcnow(cls):
        return _datetime.utcnow() + dt.timedelta(seconds=SHIFT)

    @classmethod
    def today(cls):
        return _datetime.today() + dt.timedelta(seconds=SHIFT)


if SHIFT:
    time.time = lambda: _time() + SHIFT
    time.time_ns = lambda: _time_ns() + int(SHIFT * 1e9)
    time.localtime = lambda seconds=None: _localtime(_time() + SHIFT if seconds is None else seconds)
    time.gmtime = lambda seconds=None: _gmtime(_time() + SHIFT if seconds is None else seconds)
    dt.datetime = _Shifted
