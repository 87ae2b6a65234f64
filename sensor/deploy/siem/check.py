"""Checks the files for SIEMs: Sigma rules with pySigma, whose SQL runs over events; the others as far as they can be
checked without the SIEM itself. Says what was checked, and exits with 1 where something is wrong."""

import datetime
import json
import pathlib
import re
import sqlite3
import sys
import tempfile
import urllib.request
import xml.etree.ElementTree as xml

from addonfactory_splunk_conf_parser_lib import TABConfigParser
from osmem_server import OsmemServer
from sigma.backends.elasticsearch import LuceneBackend
from sigma.backends.splunk import SplunkBackend
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.processing.pipeline import ProcessingPipeline
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

folder, encodings = map(pathlib.Path, sys.argv[1:])
faults = []


def fault(text):
    faults.append(text)
    print(f"wrong: {text}")


def lines(name):
    return [json.loads(line) for line in (encodings / name).read_text().split("\n")[:-1]]


eve, ecs = lines("events.jsonl"), lines("ecs.jsonl")


def flat(value, path="", found=None):
    """Fields by dotted path; an array as its values with commas between."""
    found = {} if found is None else found
    if isinstance(value, dict):
        for key, inner in value.items():
            flat(inner, f"{path}.{key}" if path else key, found)
    else:
        found[path] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return found


def fact(event, key):
    return (event.get("alert", {}).get("metadata", {}).get(key) or [None])[0]


def is_incident(event, verdict):
    opens = event.get("alert", {}).get("gid") == 7 and fact(event, "incident_state") in ("opened", "risen")
    return opens and fact(event, "verdict") == verdict and not fact(event, "warning")


# What each rule has to find, said without the rule.
WANTED = {
    "vigie_incident_app": lambda event: is_incident(event, "app"),
    "vigie_incident_site": lambda event: is_incident(event, "web"),
    "vigie_incident_warning": lambda event: fact(event, "warning") is not None,
    "vigie_desync": lambda event: fact(event, "desync") is not None,
    "vigie_reveal": lambda event: fact(event, "audit") == "reveal",
    "vigie_policy_changed": lambda event: fact(event, "audit") not in (None, "reveal", "disposition", "sealed", "lost"),
    "vigie_blind": lambda event: event.get("metadata", {}).get("flowints", {}).get("vigie.blind_s", 0) > 0,
}


def table(events):
    connection = sqlite3.connect(":memory:")
    rows = [flat(event) for event in events]
    columns = sorted({column for row in rows for column in row} | {f"alert.metadata.{key}" for key in ["ministry", "site", "warning"]})
    names = ", ".join(f'"{column}"' for column in ["line", *columns])
    connection.execute(f"CREATE TABLE logs ({names})")
    for number, row in enumerate(rows):
        values = [number, *(row.get(column) for column in columns)]
        connection.execute(f"INSERT INTO logs VALUES ({', '.join('?' * len(values))})", values)
    return connection


def found(connection, query):
    query = query.replace("<TABLE_NAME>", "logs")
    return {row[0] for row in connection.execute(query.replace("SELECT *", "SELECT line", 1))}


def blind_events():
    """The coverage events, once as they are and once of a sensor that saw nothing for a while."""
    covered = [event for event in eve if "metadata" in event and "flowints" in event["metadata"]]
    blind = json.loads(json.dumps(covered))
    for event in blind:
        event["metadata"]["flowints"]["vigie.blind_s"] = 7
    return blind


def check_sigma():
    files = sorted((folder / "sigma").glob("*.yml"))
    rules = SigmaCollection.load_ruleset(files)
    # Those for tags fetch a list from a server.
    offline = [validator for name, validator in validators.items() if not name.endswith("tag")]
    for issue in SigmaValidator(offline).validate_rules(iter(rules.rules)):
        fault(f"sigma: {issue}")
    # A rule that a correlation names is no query of its own: the correlation is tried apart.
    rules = SigmaCollection.load_ruleset([file for file in files if file.stem != "many_devices"])
    events = eve + blind_events()
    pipeline = ProcessingPipeline.from_yaml((folder / "sigma/pipelines/ecs.yml").read_text())
    plain, mapped = table(events), table(ecs)
    hits = 0
    for rule in rules.rules:
        if rule.name not in WANTED:
            continue
        wanted = {number for number, event in enumerate(events) if WANTED[rule.name](event)}
        one = SigmaCollection([rule])
        [query] = sqliteBackend().convert(one)
        if not wanted or found(plain, query) != wanted:
            fault(f"sigma: {rule.name} finds {found(plain, query)}, not {wanted}: {query}")
        hits += len(wanted)
        # The same rule over the same events in the other encoding, which has no blind sensor.
        [query] = sqliteBackend(pipeline).convert(one)
        wanted = {number for number in wanted if number < len(ecs)}
        if found(mapped, query) != wanted:
            fault(f"sigma, ecs: {rule.name} finds {found(mapped, query)}, not {wanted}: {query}")
    names = {rule.name for rule in rules.rules}
    if not WANTED.keys() <= names:
        fault(f"sigma: rules {names}")
    queries = SplunkBackend().convert(rules) + LuceneBackend(pipeline).convert(SigmaCollection([rule for rule in rules.rules if rule.name in WANTED]))
    print(f"pySigma: {len(files)} rules, {hits} events found by them as EVE and as ECS, {len(queries)} queries for Splunk and Elastic")


def check_many_devices():
    """The correlation as SQL, over six devices and over four."""
    rules = SigmaCollection.load_ruleset([folder / "sigma/incident_app.yml", folder / "sigma/many_devices.yml"])
    [template] = [event for event in eve if WANTED["vigie_incident_app"](event)][:1]
    for devices, is_found in [(6, True), (4, False)]:
        events = []
        for number in range(devices):
            event = json.loads(json.dumps(template))
            event["alert"]["metadata"]["client"] = [f"10.0.0.{number}"]
            event["alert"]["metadata"]["ministry"] = ["culture"]
            event["timestamp"] = f"2026-11-28T00:{number:02}:00"
            events.append(event)
        queries = sqliteBackend(timestamp_field="timestamp").convert(rules) if accepts_timestamp() else sqliteBackend().convert(rules)
        rows = table(events).execute(queries[-1].replace("<TABLE_NAME>", "logs")).fetchall()
        if bool(rows) != is_found:
            fault(f"sigma: of {devices} devices {rows}: {queries[-1]}")
    print("pySigma: the correlation finds 6 devices, and not 4")


def accepts_timestamp():
    try:
        sqliteBackend(timestamp_field="timestamp")
        return True
    except TypeError:
        return False


# Wazuh: no wazuh-logtest in the registries. What the rules' expressions find is tried with both shapes that Wazuh gives arrays.
def wazuh_fields(event, as_json):
    fields = {}
    for path, value in flat_arrays(event).items():
        if isinstance(value, list):
            fields[path] = json.dumps(value, separators=(",", ":")) if as_json else ",".join(map(str, value))
        else:
            fields[path] = str(value)
    return fields


def flat_arrays(value, path="", found=None):
    found = {} if found is None else found
    if isinstance(value, dict):
        for key, inner in value.items():
            flat_arrays(inner, f"{path}.{key}" if path else key, found)
    else:
        found[path] = value
    return found


def wazuh_rule(rules, fields):
    """The deepest rule that matches, as Wazuh walks the tree: the first child, in the order of levels, that matches."""
    # The built-in rules on which ours rest: JSON with a time and an event type, and of these the alerts.
    current = "86601" if fields["event_type"] == "alert" else "86600"
    while True:
        children = [rule for rule in rules if current in rule.findtext("if_sid").split(",")]
        children.sort(key=lambda rule: -int(rule.get("level")))
        matches = lambda field: re.search(field.text, fields.get(field.get("name"), "\0absent")) and field.get("name") in fields
        match = next((rule for rule in children if all(matches(field) for field in rule.findall("field"))), None)
        if match is None:
            return current
        current = match.get("id")


def wazuh_wanted(event):
    gid = event.get("alert", {}).get("gid")
    if event.get("event_type") == "stats":
        coverage = event.get("metadata", {}).get("flowints", {})
        return ("108731" if coverage.get("vigie.blind_s") else "108730") if coverage else "86600"
    if event.get("event_type") != "alert":
        return "86600"
    if gid == 1:
        return "108714" if fact(event, "desync") else "108701"
    if gid == 8:
        return "108721" if fact(event, "audit") == "reveal" else "108720"
    if fact(event, "warning"):
        return "108713"
    return "108711" if is_incident(event, "app") else "108712" if is_incident(event, "web") else "108710"


def check_wazuh():
    [decoder] = xml.fromstring(f"<all>{(folder / 'wazuh/vigie_decoders.xml').read_text()}</all>")
    if decoder.get("name") != "json" or not re.search(decoder.findtext("program_name"), "vigie-forward"):
        fault("wazuh: the decoder")
    group = xml.fromstring((folder / "wazuh/vigie_rules.xml").read_text())
    rules = group.findall("rule")
    ids = [int(rule.get("id")) for rule in rules]
    if len(set(ids)) != len(ids) or not all(100_000 <= id < 120_000 for id in ids):
        fault(f"wazuh: ids {ids}")
    events = eve + blind_events()
    seen = set()
    for number, event in enumerate(events):
        for as_json in [False, True]:
            fields = wazuh_fields(event, as_json)
            got = wazuh_rule(rules, fields)
            seen.add(got)
            if got != wazuh_wanted(event):
                fault(f"wazuh: event {number} gives rule {got}, not {wazuh_wanted(event)}")
    known = set().union(*[flat_arrays(event).keys() for event in events])
    for rule in rules:
        named = [field.get("name") for field in rule.findall("field")] + re.findall(r"\$\(([^)]+)\)", rule.findtext("description"))
        for name in named:
            if name not in known:
                fault(f"wazuh: rule {rule.get('id')} names the field {name}, which no event has")
    missing = {str(id) for id in ids} - seen - {"108700"}
    if missing:
        fault(f"wazuh: no event gives {missing}")
    print(f"Wazuh: {len(rules)} rules, each found by {len(events)} events with arrays in both shapes (not by wazuh-logtest)")


# Elastic: neither Elasticsearch nor OpenSearch can be had here. Every field of our events has to have the mapping's type, and osmem,
# which others wrote to stand for OpenSearch in tests, has to take the template and all events. It has no data streams and no pipelines.
def check_elastic():
    template = json.loads((folder / "elastic/index-template.json").read_text())["template"]
    schema = json.loads((encodings / "ecs-fields.json").read_text())["fields"]
    mapped = {}

    def mapping(properties, path):
        for name, of in properties.items():
            inner = f"{path}.{name}" if path else name
            if "properties" in of:
                mapping(of["properties"], inner)
            else:
                mapped[inner] = of["type"] if of.get("enabled", True) else "kept only"

    mapping(template["mappings"]["properties"], "")
    for name, kind in schema.items():
        sets = re.match(r"\{(.*)\}(.*)", name)
        for one in [part + sets[2] for part in sets[1].split(",")] if sets else [name]:
            if mapped.get(one) != kind.removesuffix("[]"):
                fault(f"elastic: {one} is mapped as {mapped.get(one)}, the schema says {kind}")
    used = 0
    kinds = {"long": int, "keyword": str, "match_only_text": str, "date": str, "ip": str}
    dynamic = {}

    def walk(value, path):
        nonlocal used
        if isinstance(value, list):
            for item in value:
                walk(item, path)
        elif mapped.get(path) == "kept only":
            used += 1
        elif isinstance(value, dict):
            if path in mapped:
                fault(f"elastic: {path} is an object, mapped as {mapped[path]}")
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else key)
        else:
            used += 1
            # What is not mapped gets its type from the first value; a value of another type is then refused.
            kind = kinds[mapped[path]] if path in mapped else dynamic.setdefault(path, type(value))
            if not isinstance(value, kind):
                fault(f"elastic: {path} is {value!r}, mapped as {mapped.get(path, kind)}")

    for event in ecs:
        walk(event, "")
    pipeline = json.loads((folder / "elastic/ingest-pipeline.json").read_text())
    known = {"fail", "set", "fingerprint", "append"}
    used_processors = [name for processor in pipeline["processors"] + pipeline["on_failure"] for name in processor]
    if not set(used_processors) <= known or template["settings"]["index.default_pipeline"] != "vigie":
        fault(f"elastic: processors {used_processors}")
    ids = [event["event"].get("id") for event in ecs]
    if len(set(filter(None, ids))) != len(list(filter(None, ids))):
        fault("elastic: two events have one id")
    print(f"Elastic: {used} values of {len(ecs)} events fit {len(mapped)} mapped and {len(dynamic)} dynamic fields (not by Elasticsearch)")
    with OsmemServer.start() as server:
        check_open_search(server.url)


def check_open_search(url):
    def ask(method, path, body):
        text = body if isinstance(body, str) else json.dumps(body)
        request = urllib.request.Request(url + path, text.encode(), {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def bulk(documents):
        text = "".join(json.dumps(line) + "\n" for pair in documents for line in pair)
        return [item["create"] for item in ask("POST", "/vigie-events/_bulk", text)["items"]]

    template = json.loads((folder / "elastic/index-template.json").read_text())
    del template["data_stream"], template["template"]["settings"]["index.default_pipeline"]
    ask("PUT", "/_index_template/vigie", template)
    documents = [({"create": {"_id": event["event"]["id"]} if event["event"].get("id") else {}}, event) for event in ecs]
    for taken in bulk(documents):
        if taken["status"] != 201:
            fault(f"elastic: osmem refuses an event: {taken}")
    again = [({"create": create["create"]}, event) for create, event in documents if create["create"]]
    if any(taken["status"] != 409 for taken in bulk(again)):
        fault("elastic: osmem takes an event twice")
    searches = {
        "addresses": ({"term": {"source.ip": "10.0.0.0/8"}}, lambda event: event.get("source", {}).get("ip", "").startswith("10.")),
        "numbers": ({"range": {"vigie.flows": {"gte": 2}}}, lambda event: event.get("vigie", {}).get("flows", 0) >= 2),
        "words": ({"term": {"event.module": "vigie"}}, lambda event: True),
        "times": ({"range": {"@timestamp": {"gte": "2000-01-01T00:00:00Z"}}}, lambda event: True),
    }
    for name, (query, is_wanted) in searches.items():
        found = ask("POST", "/vigie-events/_count", {"query": query})["count"]
        wanted = sum(map(is_wanted, ecs))
        if found != wanted or not wanted:
            fault(f"elastic: osmem finds {found} events by {name}, not {wanted}")
    wrong = bulk([({"create": {}}, {**ecs[0], "source": {"ip": "nowhere"}})])
    if wrong[0]["status"] != 400:
        fault("elastic: osmem does not look at types")
    print(f"OpenSearch: osmem takes the template and {len(ecs)} events, each once, and finds them by {', '.join(searches)} (no data stream, no pipeline)")


# Splunk: its own parser of configuration files; the expressions are tried on the events.
def check_splunk():
    confs = {}
    for name in ["props", "transforms"]:
        parser = TABConfigParser()
        parser.read(folder / f"splunk/{name}.conf")
        confs[name] = {section: dict(parser.items(section)) for section in parser.sections()}
    props, transforms = confs["props"]["vigie:eve"], confs["transforms"]
    named = [name.strip() for name in props["TRANSFORMS-vigie_sourcetype"].split(",")]
    if set(named) != transforms.keys():
        fault(f"splunk: {named}, {list(transforms)}")
    text = (encodings / "events.jsonl").read_text()
    count = {}
    for line, event in zip(text.split("\n")[:-1], eve, strict=True):
        sourcetype = "vigie:eve"
        for name in named:
            if re.search(transforms[name]["REGEX"], line):
                sourcetype = transforms[name]["FORMAT"].removeprefix("sourcetype::")
        gid = event.get("alert", {}).get("gid")
        covers = "flowints" in event.get("metadata", {})
        wanted = {7: "vigie:incident", 8: "vigie:audit"}.get(gid, "vigie:coverage" if covers else "vigie:eve")
        if sourcetype != wanted:
            fault(f"splunk: {sourcetype}, not {wanted}: {line[:200]}")
        count[sourcetype] = count.get(sourcetype, 0) + 1
        at = re.search(props["TIME_PREFIX"], line).end()
        time = line[at : at + int(props["MAX_TIMESTAMP_LOOKAHEAD"])]
        datetime.datetime.strptime(time, props["TIME_FORMAT"].replace("%6N", "%f"))
        if len(line) > int(props["TRUNCATE"]):
            fault(f"splunk: {len(line)} bytes")
    known = set().union(*[splunk_fields(event) for event in eve])
    for section, settings in confs["props"].items():
        for key, value in settings.items():
            fields = re.findall(r"'([^']+)'", value) if key.startswith("EVAL") else value.split(" AS ")[:1] if key.startswith("FIELDALIAS") else []
            for field in fields:
                if field not in known:
                    fault(f"splunk: [{section}] {key} names the field {field}, which no event has")
    print(f"Splunk: {count} (not by Splunk)")


def splunk_fields(event):
    """Fields as KV_MODE = json names them: an array of values has {} after its name."""
    return {path + "{}" if isinstance(value, list) else path for path, value in flat_arrays(event).items()}


check_sigma()
check_many_devices()
check_wazuh()
check_elastic()
check_splunk()
if faults:
    sys.exit(f"{len(faults)} faults")
print("all is well")
