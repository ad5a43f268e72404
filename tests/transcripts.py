#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays transcripts of the program: transcripts.py PROGRAM [TRANSCRIPT...] (all of tests/transcripts by default).

A transcript holds lines `$ command` (continued by lines `> more`, as a shell shows it), each followed by what the command prints on
stdout and stderr together, then `[exit N]` when N is not zero. Text before the first command is a comment. The commands of one
transcript run one after the other in one fresh directory, where `tests` and `presets` are links into the source tree. With UPDATE=1
the files are rewritten with what the program prints now. Output is TAP, with the differences on stderr.
"""
import difflib
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse(text):
    """Returns the comment before the first command, and the commands as lists of lines."""
    comment, commands, in_command = [], [], False
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append([line[2:]])
            in_command = True
        elif in_command and line.startswith("> "):
            commands[-1].append(line[2:])
        elif commands:
            in_command = False
        else:
            comment.append(line)
    return comment, commands


def replay(text, env):
    """Returns the transcript as it reads when its commands are run now."""
    comment, commands = parse(text)
    lines = list(comment)
    with tempfile.TemporaryDirectory(prefix="transcript-") as directory:
        for name in ("tests", "presets"):
            os.symlink(ROOT / name, os.path.join(directory, name))
        for command in commands:
            run = subprocess.run(["bash", "-c", "\n".join(command)], cwd=directory, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
            lines.append("$ " + command[0])
            lines += ["> " + more for more in command[1:]]
            lines += run.stdout.decode(errors="backslashreplace").splitlines()
            if run.returncode != 0:
                lines.append(f"[exit {run.returncode}]")
    return "".join(line + "\n" for line in lines)


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    files = [pathlib.Path(name) for name in sys.argv[2:]] or sorted((ROOT / "tests/transcripts").glob("*.txt"))
    env = dict(os.environ, PATH=f"{program.parent}:{os.environ['PATH']}", LC_ALL="C.UTF-8", TERM="dumb", COLUMNS="80", TZ="UTC",
               SLIMPIPE_PRESETS=str(ROOT / "presets"))
    failed = 0
    print(f"1..{len(files)}")
    for number, path in enumerate(files, 1):
        expected = path.read_text()
        try:
            actual = replay(expected, env)
        except subprocess.TimeoutExpired as late:
            actual = f"timed out: {late.cmd[-1]}\n"
        if actual != expected and os.environ.get("UPDATE") == "1":
            path.write_text(actual)
            print(f"# rewrote {path.name}")
        elif actual != expected:
            failed += 1
            for line in difflib.unified_diff(expected.splitlines(), actual.splitlines(), f"{path.name}, expected", f"{path.name}, actual", lineterm=""):
                print(line, file=sys.stderr)
            print(f"not ok {number} {path.stem}")
            continue
        print(f"ok {number} {path.stem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
