#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds docs/plan.schema.json to the plan fixtures: every good one is valid, and the bad ones that a schema can tell are not.

Validates by the keywords of JSON Schema that our schema uses, so that no package is needed; any other keyword is an error. Output is TAP.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Bad fixtures whose fault is in one value or one object.
REFUSED = """cluster-link costs-and-model costs-large costs-missing costs-neither exchange-token field-case field-missing field-unknown
format-missing format-unknown joined-unfinished microbatches-many model-epsilon model-field-missing model-name-long not-an-object
options-unknown order-comma order-letter order-number path-empty pipeline-zero profile-efficiency profile-pair schedule-name slice-zero
slices-empty stage-offload stages-empty version-text version-unknown""".split()

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


class Schema:
    def __init__(self, root):
        self.root = root

    def is_valid(self, value, schema):
        """True when value satisfies every keyword of schema."""
        return all(getattr(self, "k_" + key.strip("$"))(value, schema[key], schema) for key in schema)

    def k_schema(self, *_):
        return True

    k_title = k_description = k_defs = k_schema

    def k_ref(self, value, ref, _):
        return self.is_valid(value, self.root["$defs"][ref.removeprefix("#/$defs/")])

    def k_type(self, value, name, _):
        return is_type(value, name)

    def k_const(self, value, const, _):
        return value == const and type(value) is type(const)

    def k_enum(self, value, names, _):
        return value in names

    def k_minimum(self, value, limit, _):
        return not is_type(value, "number") or value >= limit

    def k_exclusiveMinimum(self, value, limit, _):
        return not is_type(value, "number") or value > limit

    def k_maximum(self, value, limit, _):
        return not is_type(value, "number") or value <= limit

    def k_maxLength(self, value, limit, _):
        return not isinstance(value, str) or len(value) <= limit

    def k_pattern(self, value, pattern, _):
        return not isinstance(value, str) or re.search(pattern, value) is not None

    def k_minItems(self, value, limit, _):
        return not isinstance(value, list) or len(value) >= limit

    def k_maxItems(self, value, limit, _):
        return not isinstance(value, list) or len(value) <= limit

    def k_items(self, value, schema, _):
        return not isinstance(value, list) or all(self.is_valid(item, schema) for item in value)

    def k_prefixItems(self, value, schemas, _):
        return not isinstance(value, list) or all(map(self.is_valid, value, schemas))

    def k_required(self, value, names, _):
        return not isinstance(value, dict) or all(name in value for name in names)

    def k_properties(self, value, schemas, _):
        return not isinstance(value, dict) or all(self.is_valid(value[name], schemas[name]) for name in value if name in schemas)

    def k_additionalProperties(self, value, allowed, schema):
        return allowed or not isinstance(value, dict) or all(name in schema["properties"] for name in value)

    def k_not(self, value, schema, _):
        return not self.is_valid(value, schema)

    def k_anyOf(self, value, schemas, _):
        return any(self.is_valid(value, schema) for schema in schemas)

    def k_oneOf(self, value, schemas, _):
        return sum(self.is_valid(value, schema) for schema in schemas) == 1


def main():
    root = json.loads((ROOT / "docs/plan.schema.json").read_text(encoding="utf-8"))
    schema = Schema(root)
    cases = [(path, True) for path in sorted((ROOT / "tests/plans/good").glob("*.json"))]
    cases += [(ROOT / "tests/plans/bad" / (name + ".json"), False) for name in REFUSED]
    failed = 0
    print(f"1..{len(cases)}")
    for number, (path, expected) in enumerate(cases, 1):
        good = schema.is_valid(json.loads(path.read_text(encoding="utf-8")), root) == expected
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {path.stem} is {'valid' if expected else 'refused'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
