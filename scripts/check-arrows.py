#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the arrows between the folders from the #include lines: check-arrows.py [ROOT].

A folder includes its own private headers, and the public headers of the folders it may use. A public header belongs to the folder that
has its name or a source of the same name, or to the one that PUBLIC gives.
"""
import pathlib
import re
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

# Public headers whose folder their name does not tell.
PUBLIC = {
    "status.h": "plan",
    "error.h": "plan",
}

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
        """Returns the folder that a public header belongs to, None when that cannot be told."""
        stem = pathlib.PurePath(header).stem
        if header in PUBLIC:
            return PUBLIC[header]
        if stem in MAY_USE:
            return stem
        folders = {path.relative_to(self.root).parts[0] for folder in MAY_USE for path in (self.root / folder).rglob(stem + ".c")}
        return folders.pop() if len(folders) == 1 else None

    def check_public(self, where, folder, header):
        owner = self.owner(header)
        if not (self.root / "include/slimpipe" / header).exists():
            self.faults.append(f"{where}: there is no include/slimpipe/{header}")
        elif owner is None:
            self.faults.append(f"{where}: slimpipe/{header} belongs to no folder; name it in PUBLIC of scripts/check-arrows.py")
        elif owner != folder and owner not in MAY_USE[folder]:
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

    def run(self):
        for folder in ["include", *MAY_USE, *MAY_USE_ALL]:
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in SOURCES:
                    self.check_file(path)
        for pattern, place, limit in FOREIGN:
            files = sorted(self.wrappers.get(pattern, ()))
            if limit is not None and len(files) > limit:
                self.faults.append(f"{pattern.pattern} is included by {len(files)} files, not {limit}: {', '.join(files)}")
        print(*self.faults, sep="\n", end="\n" if self.faults else "")
        return 1 if self.faults else 0


if __name__ == "__main__":
    sys.exit(Checker(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()).run())
