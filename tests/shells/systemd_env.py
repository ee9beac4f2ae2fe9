"""Prints what systemd's own code makes of an EnvironmentFile=: NAME=VALUE, a NUL after each. Usage: systemd_env.py FILE

Both calls are those of systemd's manager (src/core/execute.c): load_env_file() parses, strv_env_clean_with_callback() drops
what is no valid assignment. They come from the library that systemd itself is linked with.
"""

import ctypes
import glob
import sys

places = ("/usr/lib/systemd/", "/lib/systemd/", "/usr/lib/*-linux-gnu/systemd/", "/usr/lib64/systemd/")
found = [path for place in places for path in glob.glob(place + "libsystemd-shared-*.so")]
if not found:
    sys.exit("no libsystemd-shared-*.so: install the package systemd")
systemd = ctypes.CDLL(found[0])
Strings = ctypes.POINTER(ctypes.c_char_p)
systemd.load_env_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(Strings)]
systemd.strv_env_clean_with_callback.argtypes = [Strings, ctypes.c_void_p, ctypes.c_void_p]
systemd.strv_env_clean_with_callback.restype = Strings

entries = Strings()
error = systemd.load_env_file(None, sys.argv[1].encode(), ctypes.byref(entries))
if error < 0:
    sys.exit(f"load_env_file: error {-error}")
entries = systemd.strv_env_clean_with_callback(entries, None, None)
index = 0
while entries and entries[index] is not None:
    sys.stdout.buffer.write(entries[index] + b"\0")
    index += 1
