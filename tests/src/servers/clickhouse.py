"""Runs a ClickHouse server out of libchdb.so, which contains all of clickhouse-local.

There `SYSTEM START LISTEN` opens the server's own HTTP and TCP ports. Standard input is a terminal of its own making, so
that clickhouse-local counts as interactive: otherwise it ends at the first malformed request. The server ends in order on
SIGTERM, and when the standard input that this was started with ends, which is when its parent does.

usage: clickhouse.py LIBRARY FOLDER HTTP_PORT TCP_PORT CONFIG
"""
import ctypes
import os
import pty
import signal
import sys
import termios
import threading

library, folder, http_port, tcp_port, config = sys.argv[1:]

# Before the engine starts any thread: they inherit it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
parent = os.dup(0)
master, slave = pty.openpty()
attributes = termios.tcgetattr(slave)
attributes[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, attributes)
os.dup2(slave, 0)


def stop():
    # The end of the session closes the ports and the tables.
    os.write(master, b"\x04\nexit\n")


def stop_on_signal():
    signal.sigwait({signal.SIGTERM})
    stop()


def stop_with_parent():
    while os.read(parent, 4096):
        pass
    stop()


def drain():
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


for task in (stop_on_signal, stop_with_parent, drain):
    threading.Thread(target=task, daemon=True).start()


class Result(ctypes.Structure):
    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("vector", ctypes.c_void_p),
        ("elapsed", ctypes.c_double),
        ("rows", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("error", ctypes.c_char_p),
    ]


engine = ctypes.CDLL(library)
engine.query_stable_v2.restype = ctypes.POINTER(Result)
arguments = [
    "clickhouse-local", "--path", folder, "--config-file", config,
    "--listen_host", "127.0.0.1", "--http_port", http_port, "--tcp_port", tcp_port,
    "--interactive", "--disable_suggestion", "--history_file", "/dev/null", "--progress", "off",
    "--log-level", "warning", "--logger.log", os.path.join(folder, "server.log"),
    "--query", "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP",
]
array = (ctypes.c_char_p * (len(arguments) + 1))(*[argument.encode() for argument in arguments], None)
result = engine.query_stable_v2(len(arguments), array).contents
if result.error:
    sys.stderr.write(result.error.decode(errors="replace") + "\n")
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
