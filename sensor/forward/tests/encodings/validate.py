"""Has parsers of others read the encoded events of a folder. Says what each one read, and exits with 1 where one refuses."""

import collections
import ipaddress
import json
import pathlib
import re
import sys

import pycef
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from syslog_rfc5424_parser import SyslogMessage

folder = pathlib.Path(sys.argv[1])
faults = []


def lines(name):
    return (folder / name).read_text().split("\n")[:-1]


def fault(text):
    faults.append(text)
    print(f"refused: {text}")


events = [json.loads(line) for line in lines("events.jsonl")]


# OCSF: the schema of each class, in the version that the event names and in all later ones that the package has.
def check_ocsf():
    later = ["1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0"]
    schemas = {version: OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version)) for version in later}
    validators = {}
    classes = collections.Counter()
    for number, line in enumerate(lines("ocsf.jsonl"), 1):
        event = json.loads(line)
        profiles = event["metadata"].get("profiles", [])
        for version, schema in schemas.items():
            key = (version, event["class_uid"], *profiles)
            if key not in validators:
                name = schema.lookup_class_name_from_uid(class_uid=event["class_uid"])
                validators[key] = Draft202012Validator(schema.get_class_schema(class_name=name, profiles=profiles))
            for error in validators[key].iter_errors(event):
                fault(f"ocsf line {number}, schema {version}: {error.json_path}: {error.message[:300]}")
        classes[event["class_name"]] += 1
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            fault(f"ocsf line {number}: type_uid {event['type_uid']}")
    print(f"ocsf-json-schema: {dict(classes)} valid under {', '.join(later)}" if not faults else "ocsf-json-schema: see above")


# ECS: every field outside of `vigie` is one of the schema's, with its type and, for categories, its words.
def fields_of(listed):
    found = {}
    for name, kind in listed.items():
        sets = re.match(r"\{(.*)\}(.*)", name)
        for one in [part + sets[2] for part in sets[1].split(",")] if sets else [name]:
            found[one] = kind
    return found


def is_ip(value):
    try:
        return str(ipaddress.ip_address(value)) == value
    except ValueError:
        return False


DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TYPES = {
    "date": lambda value: isinstance(value, str) and DATE.fullmatch(value),
    "ip": is_ip,
    "keyword": lambda value: isinstance(value, str) and len(value) <= 1024,
    "long": lambda value: type(value) is int and value < 2**63,
    "match_only_text": lambda value: isinstance(value, str),
}


def check_ecs():
    schema = json.loads((folder / "ecs-fields.json").read_text())
    fields = fields_of(schema["fields"])
    used = collections.Counter()

    def walk(number, path, value):
        if path == "vigie":
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(number, f"{path}.{key}" if path else key, inner)
            return
        kind = fields.get(path)
        used[path] += 1
        if kind is None:
            fault(f"ecs line {number}: no field {path}")
        elif isinstance(value, list) != kind.endswith("[]"):
            fault(f"ecs line {number}: {path} is {value!r}")
        else:
            for item in value if isinstance(value, list) else [value]:
                if not TYPES[kind.removesuffix("[]")](item):
                    fault(f"ecs line {number}: {path} is {item!r}, no {kind}")

    for number, line in enumerate(lines("ecs.jsonl"), 1):
        event = json.loads(line)
        walk(number, "", event)
        of_event = event["event"]
        if of_event["kind"] not in schema["event.kind"]:
            fault(f"ecs line {number}: kind {of_event['kind']}")
        words = schema["event.type by event.category"]
        allowed = {kind for category in of_event["category"] for kind in words.get(category, [])}
        if not set(of_event["category"]) <= words.keys() or not set(of_event["type"]) <= allowed:
            fault(f"ecs line {number}: {of_event['category']}, {of_event['type']}")
    for name in fields.keys() - used.keys():
        fault(f"ecs: no event has {name}: take it from the list, or add an event that has it")
    print(f"ECS: {sum(used.values())} values in {len(used)} fields of the schema")


def unescaped(text):
    kept = {"n": "\n", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: kept.get(match[1], match[1]), text)


# CEF: pycef reads header and extension. It leaves escapes in values as they are.
def check_cef():
    keys = 0
    for number, (line, event) in enumerate(zip(lines("cef.txt"), events, strict=True), 1):
        found = pycef.parse(line)
        if not found:
            fault(f"cef line {number}: {line}")
            continue
        expected = {
            "DeviceVendor": "vigie",
            "DeviceProduct": "vigie",
            "src": event.get("src_ip") if ":" not in event.get("src_ip", ":") else None,
            "dst": event.get("dest_ip") if ":" not in event.get("dest_ip", ":") else None,
            "spt": str(event["src_port"]) if "src_port" in event else None,
            "dvchost": event.get("host"),
        }
        alert = event.get("alert")
        if alert:
            expected["DeviceEventClassID"] = f"{alert['gid']}:{alert['signature_id']}"
            expected["DeviceName"] = alert["signature"]
            metadata = alert["metadata"]
            # pycef gives a labelled field the label as its key.
            expected["incident"] = ", ".join(metadata["incident"]) if "incident" in metadata else None
            expected["externalId"] = metadata["event_id"][0] if "event_id" in metadata else None
            expected["vigieDevice"] = metadata["device"][0] if "device" in metadata else None
        for key, value in expected.items():
            read = found.get(key)
            if (unescaped(read) if isinstance(read, str) else read) != value:
                fault(f"cef line {number}: {key} is read as {read!r}, not as {value!r}")
        keys += len(found)
    print(f"pycef: {len(events)} events, {keys} fields")


# LEEF has no parser in the registries: this one follows the format's own description, and shares no code with the encoder.
def check_leef():
    keys = 0
    for number, (line, event) in enumerate(zip(lines("leef.txt"), events, strict=True), 1):
        match = re.fullmatch(r"LEEF:2\.0\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|x([0-9a-fA-F]{2})\|(.*)", line)
        if not match:
            fault(f"leef line {number}: {line}")
            continue
        attributes = dict(part.split("=", 1) for part in match[6].split(chr(int(match[5], 16))))
        if attributes.get("src") != event.get("src_ip") or attributes.get("dst") != event.get("dest_ip"):
            fault(f"leef line {number}: {attributes}")
        if not 1 <= int(attributes["sev"]) <= 10:
            fault(f"leef line {number}: sev {attributes['sev']}")
        keys += len(attributes)
    print(f"LEEF: {len(events)} events, {keys} attributes")


# Syslog: every encoding is a message that comes back whole (RFC 5424 §6.4).
def check_syslog():
    count = 0
    for name in ["events.jsonl", "ecs.jsonl", "ocsf.jsonl", "cef.txt", "leef.txt"]:
        for number, line in enumerate(lines(name), 1):
            message = f"<134>1 2026-11-27T18:58:14.000000Z tap-1 vigie-forward - - - {line}"
            read = SyslogMessage.parse(message)
            if read.msg != line or read.hostname != "tap-1":
                fault(f"syslog, {name} line {number}: {read.msg[:200]}")
            count += 1
    print(f"syslog-rfc5424-parser: {count} messages")


check_ocsf()
check_ecs()
check_cef()
check_leef()
check_syslog()
if faults:
    sys.exit(f"{len(faults)} faults")
print("all accepted")
