#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of the program as a whole: program.py PROGRAM. Output is TAP.

What transcripts cannot say: every fixture of tests/plans through `check`, standard streams that fail, the files that a failure leaves
behind, and that help, man page and completion tell of the same commands and options.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
ENV = dict(os.environ, LC_ALL="C.UTF-8", SLIMPIPE_PRESETS=str(ROOT / "presets"))
SMALL = ["plan", "--unit-cost", "forward=1,backward=1,weight=1", "--pp", "2", "--slices", "2", "--microbatches", "2"]


def run(*arguments, **options):
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "cwd": ROOT, **options}
    return subprocess.run([PROGRAM, *arguments], env=ENV, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options)


def commands():
    section = re.search(r"^Commands:\n((?:  .*\n)+)", run("--help").stdout, re.MULTILINE).group(1)
    return [line.split()[0] for line in section.splitlines()]


def options(command):
    """The long options that --help lists, --help and --usage aside."""
    found = re.findall(r"^ +(?:-., )?(--[a-z][a-z-]*)(?:=\S+)?(?: |$)", run(command, "--help").stdout, re.MULTILINE)
    return set(found) - {"--help", "--usage"}


def test_good_plans():
    for plan in sorted((ROOT / "tests/plans/good").glob("*.json")):
        result = run("check", str(plan.relative_to(ROOT)))
        assert result.returncode == 0 and ": valid: " in result.stdout and not result.stderr, (plan.name, result)


def test_bad_plans():
    plans = sorted((ROOT / "tests/plans/bad").glob("*.json"))
    assert len(plans) >= 40, len(plans)
    for plan in plans:
        expected, message = plan.with_suffix(".expected").read_text().splitlines()
        result = run("check", str(plan.relative_to(ROOT)))
        assert result.returncode == int(expected.split()[1].rstrip(",")), (plan.name, result)
        assert result.stderr == f"slimpipe check: {message}\n" and not result.stdout, (plan.name, result)
        assert run("simulate", str(plan.relative_to(ROOT))).returncode == 1, plan.name


def test_forms():
    """The forms of the first release work as they are written, in one folder after the other."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "orders.csv").write_text("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n")
        for form in [
                "plan --schedule slimpipe --unit-cost forward=1000,backward=1000,weight=1000,p2p=0 --pp 8 --vpp 5 --microbatches 4 "
                "--slices 16 -o plan.json",
                "plan --model llama-3.1-70b --cluster h100 --gpus 128 --seq-len 512K --batch-tokens 4M --tp 4 --cp 2 --pp 16 --vpp 5 "
                "--slices 32 --recompute selective --exchange pairwise -o plan.json",
                "simulate plan.json --json -",
                "import --format torch orders.csv --unit-cost forward=5,backward=6,weight=4,p2p=1 -o plan.json",
                "check plan.json"]:
            result = run(*form.split(), cwd=folder)
            assert result.returncode == 0 and not result.stderr, (form, result)
            if "--json" in form:
                summary = json.loads(result.stdout)
                assert {"makespan_ns", "bubble", "bound_ns", "gap", "mfu", "tokens_per_second", "devices"} <= summary.keys(), summary


def test_output_that_fails():
    full = open("/dev/full", "w", encoding="ascii")
    for arguments in (["--help"], ["plan", "--help"], SMALL, [*SMALL, "-o", "-"]):
        result = run(*arguments, stdout=full)
        assert result.returncode == 1 and "cannot write" in result.stderr, (arguments, result)
    closed = subprocess.run(["bash", "-c", '"$0" "$@" >&-', PROGRAM, *SMALL], env=ENV, stderr=subprocess.PIPE, text=True, check=False)
    assert closed.returncode == 1 and "cannot write standard output" in closed.stderr, closed
    closed = subprocess.run(["bash", "-c", '"$0" check - <&-', PROGRAM], env=ENV, stderr=subprocess.PIPE, text=True, check=False)
    assert closed.returncode == 1 and "standard input" in closed.stderr, closed


def test_reader_that_leaves():
    """Much output into a pipe that nobody reads ends with a message, not by a signal."""
    plan = ["plan", "--unit-cost", "forward=1", "--pp", "8", "--slices", "64", "--microbatches", "64", "-o", "-"]
    with subprocess.Popen([PROGRAM, *plan], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        message = process.stderr.read()
    assert process.returncode == 1 and "Broken pipe" in message, (process.returncode, message)


def test_no_half_file():
    """A plan above its cap, or an output that cannot be written, leaves nothing behind and the old file as it was."""
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "plan.json"
        target.write_text("old")
        over = [*SMALL[:2], "forward=1,activation=1G", *SMALL[3:], "--memory-cap", "1G", "-o", str(target)]
        result = run(*over)
        assert result.returncode == 1 and "above the cap" in result.stderr, result
        assert target.read_text() == "old" and os.listdir(folder) == ["plan.json"], os.listdir(folder)
        limited = subprocess.run(["bash", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$0" "$@"', PROGRAM, *SMALL[:-1], "999", "-o", str(target)],
                                 env=ENV, capture_output=True, text=True, check=False)
        assert limited.returncode == 1 and "File too large" in limited.stderr, limited
        assert target.read_text() == "old" and os.listdir(folder) == ["plan.json"], os.listdir(folder)


def test_same_request_same_bytes():
    arguments = ["plan", "--model", "llama-3.1-8b", "--cluster", "h100", "--pp", "4", "--slices", "8", "--seq-len", "32K",
                 "--microbatches", "2", "--recompute", "full", "--exchange", "optimal", "-o", "-"]
    first, second = run(*arguments), run(*arguments)
    assert first.returncode == 0 and first.stdout == second.stdout, first.stderr


def test_plan_written_again():
    """check and simulate take a plan from a pipe."""
    plan = run(*SMALL, "-o", "-").stdout
    for command in (["check", "-"], ["simulate", "-", "--json", "-"]):
        result = subprocess.run([PROGRAM, *command], input=plan, capture_output=True, text=True, env=ENV, check=False)
        assert result.returncode == 0, result


def test_man_page():
    page = (ROOT / "docs/slimpipe.1").read_text().replace("\\-", "-")
    for command in commands():
        assert f'.SH "slimpipe {command}"' in page, command
        for option in options(command):
            assert re.search(re.escape(option) + r"\b(?!-)", page), (command, option)
    known = set().union(*(options(command) for command in commands())) | {"--help", "--usage", "--version"}
    unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) - known
    assert not unknown, unknown


def complete(*words):
    script = f'source "{ROOT}/cli/completion.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _slimpipe 2>/dev/null; echo "${{COMPREPLY[@]}}"'
    env = dict(ENV, PATH=os.path.dirname(PROGRAM) + ":" + ENV["PATH"])
    return subprocess.run(["bash", "-c", script, "bash", "slimpipe", *words], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_completion():
    assert set(commands()) <= set(complete("")), complete("")
    for command in commands():
        assert options(command) <= set(complete(command, "--")), command
    assert complete("plan", "--schedule", "slim") == ["slimpipe"]
    assert complete("plan", "--exchange", "opt") == ["optimal"]
    assert complete("plan", "--model", "llama-3.1-7") == ["llama-3.1-70b"]
    assert complete("plan", "--recompute", "=", "se") == ["selective"]


def main():
    tests = [(name.removeprefix("test_"), test) for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} {name}")
        except (AssertionError, subprocess.SubprocessError, ValueError) as fault:
            failed += 1
            print(f"{name}: {fault!r}", file=sys.stderr)
            print(f"not ok {number} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
