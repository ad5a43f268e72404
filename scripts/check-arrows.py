#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the arrows between the folders: check-arrows.py [BUILD].

From the #include lines: a folder includes its own private headers, and the public headers of the folders it may use. A public header
belongs to the folder that has its name, or to the one that PUBLIC gives.

With BUILD, a folder that meson built in, from the symbols of the libraries instead: each exports only sp_ names, and needs only names of
its own and of the folders it may use.
"""
import pathlib
import re
import subprocess
import sys

# Folder: the folders whose public headers it may include.
MAY_USE = {
    "plan": [],
    "cost": ["plan"],
    "program": ["plan", "cost"],
    "timeline": ["plan", "program"],
    "sim": ["plan", "cost", "program", "timeline"],
    "planner": ["plan", "cost", "program", "timeline", "sim"],
    "executor": ["plan", "cost", "program", "timeline"],
    "cli": ["plan", "cost", "program", "timeline", "sim", "planner", "executor"],
}
# These may include everything, private headers too.
MAY_USE_ALL = ["tests", "bench", "examples", "fuzz"]

# Public headers not named after their folder, which defines what they declare.
PUBLIC = {
    "arena.h": "plan",
    "cluster.h": "cost",
    "compare.h": "planner",
    "file.h": "plan",
    "format.h": "timeline",
    "interchange.h": "plan",
    "json.h": "plan",
    "model.h": "cost",
    "schedule.h": "planner",
    "search.h": "planner",
    "status.h": "plan",
}
# Their structs are part of the plan document, so whoever sees a plan sees them; their functions stay with their folder.
PLAN_DATA = ["cluster.h", "model.h"]

# Foreign header: the folder that wraps it, and in how many files.
FOREIGN = [
    (re.compile(r"glpk\.h"), "planner", 1),
    (re.compile(r"(cjson/)?cJSON\w*\.h", re.IGNORECASE), "plan", None),
    (re.compile(r"argp\.h"), "cli", None),
    (re.compile(r"mpi\.h"), "executor", None),
    (re.compile(r"dlfcn\.h"), "executor", None),
    (re.compile(r"(cuda|cublas|nccl|nvtx|nvml)\w*(/.*)?(\.h)?"), "executor/cuda", None),
    (re.compile(r"criterion/.*"), "tests", None),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
SOURCES = (".c", ".h", ".cu", ".cuh")


class Checker:
    def __init__(self, root):
        self.root = root
        self.faults = []
        self.wrappers = {}

    def owner(self, header):
        """Returns the folder that a public header belongs to, None when that is not known."""
        stem = header.removesuffix(".h")
        return stem if stem in MAY_USE else PUBLIC.get(header)

    def check_public(self, where, folder, header):
        owner = self.owner(header)
        if not (self.root / "include/slimpipe" / header).exists():
            self.faults.append(f"{where}: there is no include/slimpipe/{header}")
        elif owner is None:
            self.faults.append(f"{where}: slimpipe/{header} belongs to no folder; name it in PUBLIC of scripts/check-arrows.py")
        elif owner != folder and owner not in MAY_USE[folder] and header not in PLAN_DATA:
            self.faults.append(f"{where}: {folder}/ may not use {owner}/ (slimpipe/{header})")

    def check_private(self, where, path, folder, name):
        target = (path.parent / name).resolve()
        if not target.exists():
            target = (self.root / name).resolve()
        if not target.exists():
            self.faults.append(f'{where}: "{name}" is neither beside this file nor slimpipe/...')
        elif not target.is_relative_to(self.root / folder):
            self.faults.append(f'{where}: "{name}" is private to another folder')

    def check_foreign(self, where, path, name):
        for pattern, place, _ in FOREIGN:
            if pattern.fullmatch(name):
                if not path.is_relative_to(self.root / place):
                    self.faults.append(f"{where}: <{name}> is wrapped in {place}/ and included nowhere else")
                self.wrappers.setdefault(pattern, set()).add(str(path.relative_to(self.root)))
                return True
        return False

    def check_file(self, path):
        """Checks one file; private headers and arrows only where they are restricted."""
        relative = path.relative_to(self.root)
        top = relative.parts[0]
        is_public = top == "include"
        folder = self.owner(relative.name) if is_public else top
        text = path.read_text(encoding="utf-8")
        if is_public and folder is None:
            self.faults.append(f"{relative}: belongs to no folder; name it in PUBLIC of scripts/check-arrows.py")
            return
        for match in INCLUDE.finditer(text):
            where = f"{relative}:{text.count(chr(10), 0, match.start(2)) + 1}"
            quote, name = match.groups()
            if self.check_foreign(where, path, name) or top in MAY_USE_ALL:
                continue
            if name.startswith("slimpipe/"):
                self.check_public(where, folder, name.removeprefix("slimpipe/"))
            elif quote == '"' and is_public:
                self.faults.append(f'{where}: a public header includes others as "slimpipe/..."')
            elif quote == '"':
                self.check_private(where, path, folder, name)

    def check_sources(self):
        for folder in ["include", *MAY_USE, *MAY_USE_ALL]:
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in SOURCES:
                    self.check_file(path)
        for pattern, _, limit in FOREIGN:
            files = sorted(self.wrappers.get(pattern, ()))
            if limit is not None and len(files) > limit:
                self.faults.append(f"{pattern.pattern} is included by {len(files)} files, not {limit}: {', '.join(files)}")

    def check_symbols(self, build):
        defined, needed = {}, {}
        for folder in MAY_USE:
            libraries = [str(path) for path in (build / folder).glob("libslimpipe-*.a")]
            defined[folder] = symbols("--defined-only", libraries)
            needed[folder] = {name for name in symbols("--undefined-only", libraries) if name.startswith("sp_")}
            for name in sorted(defined[folder]):
                if not name.startswith("sp_"):
                    self.faults.append(f"{folder}/ exports {name}, which has no sp_ prefix")
        for folder, may_use in MAY_USE.items():
            reachable = set().union(*(defined[name] for name in [folder, *may_use]))
            for name in sorted(needed[folder] - reachable):
                homes = [other + "/" for other in MAY_USE if name in defined[other]]
                self.faults.append(f"{folder}/ needs {name} of {' or '.join(homes) or 'no library'}")


def symbols(which, libraries):
    """Returns the names of the external symbols of these libraries."""
    if not libraries:
        return set()
    lines = subprocess.run(["nm", "--extern-only", "--format=posix", which, *libraries], check=True, capture_output=True, text=True)
    return {line.split()[0] for line in lines.stdout.splitlines() if len(line.split()) > 1}


def main():
    checker = Checker(pathlib.Path(__file__).resolve().parent.parent)
    if len(sys.argv) > 1:
        checker.check_symbols(pathlib.Path(sys.argv[1]))
    else:
        checker.check_sources()
    for fault in checker.faults:
        print(fault)
    return 1 if checker.faults else 0


if __name__ == "__main__":
    sys.exit(main())
