"""python -m kolk run FILE [ARGUMENT...], and python -m kolk doctor."""

import os
import runpy
import sys

USAGE = """\
usage: python -m kolk run [-m MODULE | FILE] [ARGUMENT ...]
       python -m kolk doctor
"""


def _run(arguments):
    """Runs a program as the interpreter would, with kolk installed."""
    from kolk import install

    if arguments[:1] == ["-m"]:
        arguments = arguments[1:]
        is_module = True
    else:
        is_module = False
    if not arguments:
        return _usage()
    install()
    sys.argv = arguments
    if is_module:
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


def _usage():
    sys.stderr.write(USAGE)
    return 2


def main():
    if sys.argv[1:2] == ["run"]:
        return _run(sys.argv[2:])
    if sys.argv[1:] == ["doctor"]:
        from kolk.doctor import main as doctor
        return doctor()
    return _usage()


if __name__ == "__main__":
    sys.exit(main())
