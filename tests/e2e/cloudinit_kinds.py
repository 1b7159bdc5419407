#!/usr/bin/python3
"""cloudinit_kinds FOLDER: what cloud-init's own JSON schema thinks of a value of each kind behind each top-level key.

Writes FOLDER/KEY.KIND, a #cloud-config of that key and a value of that kind, and prints "KEY KIND yes|no" for each. "no"
means that the value itself is of a wrong kind; what the schema thinks of what is in it does not count here.
"""
import sys

import yaml
from jsonschema import Draft4Validator

from cloudinit.config.schema import get_schema

VALUES = {
    "text": "'x'", "number": "7", "flag": "yes", "date": "2026-11-29", "nothing": "", "list": "[x]", "map": "{x: y}",
}


def wrong_kind(error):
    """Does it say that the value as a whole is of no wanted kind?"""
    if error.relative_path:
        return False
    if error.validator in ("type", "enum"):
        return True
    if error.validator not in ("oneOf", "anyOf"):
        return False
    branches = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    return all(any(wrong_kind(inner) for inner in branch) for branch in branches.values())


def main():
    folder = sys.argv[1]
    schema = get_schema()
    parts = [schema["$defs"][part["$ref"].split("/")[-1]] for part in schema["allOf"]]
    rows = {key: value for part in parts for key, value in part.get("properties", {}).items()}
    for key, row in sorted(rows.items()):
        judge = Draft4Validator({"allOf": [row], "$defs": schema["$defs"]})
        for kind, text in VALUES.items():
            document = f"#cloud-config\n{key}: {text}\n"
            with open(f"{folder}/{key}.{kind}", "w", encoding="utf-8") as file:
                file.write(document)
            errors = judge.iter_errors(yaml.safe_load(document)[key])
            print(key, kind, "no" if any(map(wrong_kind, errors)) else "yes")


main()
