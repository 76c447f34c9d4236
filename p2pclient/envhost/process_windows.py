"""Windows' own means for host processes: handles that are inherited by name, and a job that ends with this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import _winapi
    import ctypes
    import msvcrt
    import os
    from ctypes import wintypes

    _JOB_EXTENDED_LIMITS = 9
    _KILL_ON_JOB_CLOSE = 0x2000
    _APPEND_ACCESS = 0x4 | 0x80 | 0x100000  # append data, read attributes, synchronize: not to write elsewhere
    _SHARE_ALL, _OPEN_ALWAYS, _NORMAL_FILE = 0x7, 4, 0x80

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def inherit(handle: int) -> dict[str, Any]:
        """Return the options of ``Popen`` by which the child inherits ``handle`` and no console's Ctrl-C."""
        os.set_handle_inheritable(handle, True)
        return {
            "startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]}),
            "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW,
        }

    def open_to_append(path: Path) -> int:
        """Return a descriptor whose every write goes to the end of the file, also those of a child that inherits it.

        Python's own mode ``a`` is a habit of the process that opened the file; the system knows nothing of it.
        """
        handle = _winapi.CreateFile(str(path), _APPEND_ACCESS, _SHARE_ALL, 0, _OPEN_ALWAYS, _NORMAL_FILE, 0)
        return msvcrt.open_osfhandle(handle, os.O_WRONLY | os.O_APPEND)

    def tie_to_this_process(process: subprocess.Popen[bytes]) -> Any:
        """Put ``process`` into a job that the system ends when our last handle to it goes: with this process.

        Returns:
            The handle to keep; None where it is not possible (a job that allows no nesting): then the host's own
            watch on its standard input is the only tie.
        """
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
        kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        job = kernel.CreateJobObjectW(None, None)
        if not job:
            return None
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        done = kernel.SetInformationJobObject(
            job, _JOB_EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
        ) and kernel.AssignProcessToJobObject(job, int(process._handle))  # type: ignore[attr-defined]
        if not done:
            release(job)
            return None
        return job

    def release(job: Any) -> None:
        """Give the job's handle back."""
        if job is not None:
            close = ctypes.WinDLL("kernel32").CloseHandle
            close.argtypes = (wintypes.HANDLE,)
            close(job)

else:

    def inherit(handle: int) -> dict[str, Any]:
        raise NotImplementedError("only on Windows")

    def open_to_append(path: Path) -> int:
        raise NotImplementedError("only on Windows")

    def tie_to_this_process(process: subprocess.Popen[bytes]) -> Any:
        """Nothing to do: the host asks its own system."""
        return None

    def release(job: Any) -> None:
        """Nothing was made."""
