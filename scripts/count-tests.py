#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many tests passed, failed and were skipped: count-tests.py TESTLOG, the testlog.json that meson wrote.

Each Criterion test and each line of TAP counts as one; a program that reports neither counts as one itself.
"""
import json
import re
import sys

CRITERION = re.compile(r"Synthesis: Tested: \d+ \| Passing: (\d+) \| Failing: (\d+) \| Crashing: \d+")
TAP = re.compile(r"^(not )?ok\b[^#\n]*(# *skip)?", re.IGNORECASE | re.MULTILINE)


def count(record):
    """Returns (passed, failed, skipped) for one test program; the crashing tests of Criterion are among its failing ones."""
    good = record["result"] in ("OK", "EXPECTEDFAIL")
    if record["result"] == "SKIP":
        return 0, 0, 1
    synthesis = CRITERION.search(record.get("stdout", "") + record.get("stderr", ""))
    lines = TAP.findall(record.get("stdout", ""))
    if synthesis:
        passed, failed, skipped = int(synthesis[1]), int(synthesis[2]), 0
    elif lines:
        failed = sum(1 for bad, _ in lines if bad)
        skipped = sum(1 for bad, skip in lines if skip and not bad)
        passed = len(lines) - failed - skipped
    else:
        passed, failed, skipped = int(good), 0, 0
    if not good and failed == 0: # it failed as a whole: a leak found at exit, a time-out, a crash
        passed, failed = max(passed - 1, 0), 1
    return passed, failed, skipped


def main():
    with open(sys.argv[1], encoding="utf-8") as log:
        counts = [count(json.loads(line)) for line in log if line.strip()]
    print(*(sum(column) for column in zip((0, 0, 0), *counts)))


main()
