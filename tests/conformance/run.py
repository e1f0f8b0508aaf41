"""Runs CPython's own tests of asyncio on kolk.

    python tests/conformance/run.py [MODULE[:PATTERN] ...]

The tests are those of the interpreter that runs this, test.test_asyncio. Each
module runs in a process of its own in which asyncio's loops, Task and Future
are kolk's, once for real (`loop`) and, where tests move the time, once more
on a kolk loop whose time they move (`time`). expected.txt names the tests that
cannot pass, with reasons; any other failure fails the run, and so does a test
named there that passes.

Prints a line per module and ends with "N passed, N failed, N expected, N
missing".
"""

import argparse
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "%d.%d" % sys.version_info[:2]

# Module, and the ways in which it is run.
MODULES = {
    "test_base_events": ["loop"],
    "test_buffered_proto": ["loop"],
    "test_context": ["loop"],
    "test_eager_task_factory": ["loop"],
    "test_events": ["loop"],
    "test_free_threading": ["loop"],
    "test_futures": ["loop", "time"],
    "test_futures2": ["loop"],
    "test_graph": ["loop"],
    "test_locks": ["loop"],
    "test_pep492": ["loop", "time"],
    "test_queues": ["loop"],
    "test_runners": ["loop"],
    "test_sendfile": ["loop"],
    "test_server": ["loop"],
    "test_sock_lowlevel": ["loop"],
    "test_ssl": ["loop"],
    "test_sslproto": ["loop"],
    "test_staggered": ["loop"],
    "test_streams": ["loop"],
    "test_subprocess": ["loop"],
    "test_taskgroups": ["loop"],
    "test_tasks": ["loop", "time"],
    "test_threads": ["loop"],
    "test_timeouts": ["loop"],
    "test_tools": ["loop"],
    "test_unix_events": ["loop"],
    "test_waitfor": ["loop"],
}

# Methods of asyncio's loop that its servers and transports are made of.
MISSING = ["_accept_connection", "_ipaddr_info", "_start_serving",
           "_stop_serving"]
SECONDS = 300  # a module may take


def modules_here():
    import test.test_asyncio
    folder = pathlib.Path(test.test_asyncio.__file__).parent
    return [name for name in MODULES if (folder / f"{name}.py").exists()]


# ---- in the process of one module ----

class Results(unittest.TestResult):
    """Who passed, who did not and why."""

    def __init__(self):
        super().__init__()
        self.passed = []
        self.failed = {}
        self.subtests = set()

    def addSuccess(self, test):
        self.passed.append(test.id())

    def addError(self, test, error):
        self.failed[test.id()] = self._exc_info_to_string(error, test)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.addError(test, error)

    def addExpectedFailure(self, test, error):
        self.passed.append(test.id())

    def addUnexpectedSuccess(self, test):
        self.failed[test.id()] = "unexpected success"

    def startTest(self, test):
        super().startTest(test)
        if os.environ.get("KOLK_CONFORMANCE_TRACE"):
            print(test.id(), file=sys.stderr, flush=True)


def select(suite, pattern):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from select(test, pattern)
        elif pattern in test.id() or fnmatch.fnmatch(test.id(), pattern):
            yield test


def run_here(module, way, pattern):
    import patches
    patches.install(way)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromName(f"test.test_asyncio.{module}")
    results = Results()
    unittest.TestSuite(select(suite, pattern)).run(results)
    json.dump({"passed": results.passed, "failed": results.failed,
               "skipped": len(results.skipped)}, sys.stdout)


# ---- in the process that was started ----

def expected_failures():
    """(version pattern, way, test pattern) of each line of expected.txt."""
    rows = []
    for line in (HERE / "expected.txt").read_text().splitlines():
        line = line.split("#")[0].split()
        if line:
            rows.append(line)
    return rows


def is_missing(why):
    last = why.rstrip().rpartition("\n")[2]
    return last.endswith("NotImplementedError") or any(
        last.startswith("AttributeError") and f"attribute '{name}'" in last
        for name in MISSING)


def is_expected(rows, way, test):
    name = test.removeprefix("test.test_asyncio.")
    return any(fnmatch.fnmatch(VERSION, version)
               and fnmatch.fnmatch(way, ways) and fnmatch.fnmatch(name, tests)
               for version, ways, tests in rows)


def run_module(module, way, pattern):
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", __file__,
               "--inside", way, f"{module}:{pattern}"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        return {"passed": [], "skipped": 0, "failed": {
            f"{module}": f"no end in {SECONDS} s\n{error.stderr}"}}
    try:
        return json.loads(done.stdout[done.stdout.rindex('{"passed"'):])
    except ValueError:
        return {"passed": [], "skipped": 0, "failed": {
            f"{module}": f"status {done.returncode}\n{done.stdout[-2000:]}\n"
                         f"{done.stderr[-4000:]}"}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inside")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    wanted = [name.partition(":")[::2] for name in options.modules]
    if options.inside:
        sys.path.insert(0, str(HERE))
        module, pattern = wanted[0]
        run_here(module, options.inside, pattern or "*")
        return 0

    rows = expected_failures()
    wanted = wanted or [(name, "*") for name in modules_here()]
    total = {"passed": 0, "failed": 0, "expected": 0, "missing": 0}
    for module, pattern in wanted:
        for way in MODULES.get(module, ["loop"]):
            found = run_module(module, way, pattern or "*")
            missing = [test for test, why in found["failed"].items()
                       if is_missing(why)]
            bad = {test: why for test, why in found["failed"].items()
                   if not is_expected(rows, way, test)
                   and test not in missing}
            good = [test for test in found["passed"]
                    if is_expected(rows, way, test)
                    and test not in found["failed"]]
            expected = len(found["failed"]) - len(bad) - len(missing)
            print(f"{module} ({way}): {len(found['passed'])} passed, "
                  f"{len(bad) + len(good)} failed, {expected} expected, "
                  f"{len(missing)} missing, {found['skipped']} skipped",
                  flush=True)
            for test, why in bad.items():
                print(f"  FAILED {test}")
                if options.verbose:
                    print("    " + why.replace("\n", "\n    "))
            for test in good:
                print(f"  PASSED, but expected to fail: {test}")
            total["passed"] += len(found["passed"])
            total["failed"] += len(bad) + len(good)
            total["expected"] += expected
            total["missing"] += len(missing)
    print(", ".join(f"{count} {what}" for what, count in total.items()))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
