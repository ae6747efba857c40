"""Every key of `study.toml` and `published.toml`, from the models that read the files."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from _site.markdown import plain, table
from alliance.data_prep.study.description import Study
from alliance.inference.published.findings import Finding

# Where each table stands in the file, in the order of the page.
WHERE = {
    "Columns": "[columns]",
    "Moderator": "[moderator]",
    "Outcome": "[outcomes.NAME]",
    "OutcomeYardstick": "[outcomes.NAME.yardstick]",
    "LongTable": "[visits]",
    "ModelSettings": "[model]",
    "PriorEvidence": "[prior_evidence.NAME]",
}


PLURAL = {
    "text": "texts",
    "number": "numbers",
    "whole number": "whole numbers",
    "number or text": "numbers or texts",
    "list of numbers or texts": "lists of numbers or texts",
}


def study_keys() -> str:
    """Markdown of a table of keys for each table of the files."""
    schema = Study.model_json_schema()
    parts = ["## study.toml\n", "### Top level\n", _keys(schema)]
    tables = {name: inner for name, inner in schema["$defs"].items() if "properties" in inner}
    for name in [*WHERE, *(tables.keys() - WHERE.keys())]:
        parts += [f"### {WHERE.get(name, name)}\n", _keys(tables[name])]
    finding = Finding.model_json_schema()
    for key, text in attributes(Finding).items():
        finding["properties"][key].setdefault("description", text)
    parts += ["## published.toml\n", "### [[finding]]\n", _keys(finding)]
    return "\n".join(parts)


def attributes(documented: type) -> dict[str, str]:
    """What a docstring says of each attribute."""
    told = re.search(r"^Attributes\n-+\n(.*)", inspect.getdoc(documented) or "", re.M | re.S)
    found = {}
    for names, words in re.findall(
        r"^([\w, ]+) : .*\n((?:    .*\n?)*)", told[1] if told else "", re.M
    ):
        for name in names.split(", "):
            found[name] = " ".join(words.split())
    return found


def _keys(schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = []
    for key, field in schema["properties"].items():
        default = "needed" if key in needed else _default(field.get("default"))
        example = field.get("examples", [None])[0]
        shown = "" if example is None else f"`{_toml(example)}`"
        rows.append((f"`{key}`", _kind(field), default, plain(field.get("description", "")), shown))
    columns = ("Key", "Value", "Default", "What it is", "For example")
    if not any(row[-1] for row in rows):
        return table(columns[:-1], [row[:-1] for row in rows])
    return table(columns, rows)


def _kind(field: dict[str, Any]) -> str:
    """What a value may be, in words."""
    choices = field.get("anyOf")
    if choices:
        kinds = [_kind(choice) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return ", ".join(f"`{_toml(value)}`" for value in field["enum"])
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"table `{WHERE[name]}`" if name in WHERE else "text"
    if "const" in field:
        return f"`{_toml(field['const'])}`"
    match field.get("type"):
        case "string":
            return "text"
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return "whole number"
        case "number":
            return "number"
        case "array" if "prefixItems" in field:
            return "`[lowest, highest]`"
        case "array":
            kind = _kind(field.get("items", {}))
            return f"list of {PLURAL.get(kind, kind)}"
        case "object":
            inner = field.get("additionalProperties")
            kind = _kind(inner) if isinstance(inner, dict) else ""
            if kind.startswith("table "):
                return kind
            return f"table of {PLURAL.get(kind, kind)}" if kind else "table"
    return "number or text"


def _default(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, dict):
        return "below"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
