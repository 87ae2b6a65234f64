"""Loads events of 50 simulated sensors into ClickHouse and runs every query of the dashboard.

Events are made of real ones: an incident and an alert of the forwarder's tests, with other sensors, times, ids and bytes.
One event in fifty comes twice, as after a crash of the forwarder, and the blocks come out of order.
"""

import collections
import copy
import datetime
import json
import pathlib
import random
import re
import sys
import tempfile

from chdb.session import Session

folder = pathlib.Path(sys.argv[1])
templates = [json.loads(line) for line in pathlib.Path(sys.argv[2]).read_text().split("\n")[:-1]]

SENSORS, INCIDENTS_A_DAY = 50, 8
# Days that there are, and those that the dashboard asks for.
DAYS, DAYS_ASKED = 60, 30
MINISTRIES = ["culture", "interior", "education", "justice", "health"]
# Tables forget what is too old: the events are of the days before this one.
NOW = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
LAST_DAY = NOW.date() - datetime.timedelta(1)
REGIONS = ["Norway", "Singapore", "Ireland", ""]
SERVICES = [("tiktok", "app"), ("netflix", "web"), ("capcut", "app")]
# Lines of an insert; each insert is a part of each table until the parts are merged.
BLOCK = 65_536
# Most rows that a query may read of each part: the keys that it is about, and what else stands in the first and last granule of
# a range. Nothing here grows with the days that there are.
ROWS_MAX = {
    "incidents_by_ministry_and_day": len(MINISTRIES) * DAYS_ASKED * len(SERVICES) + 2 * 256,
    "incidents_by_service": len(MINISTRIES) * DAYS_ASKED * len(SERVICES) + 2 * 256,
    "bytes_by_region": SENSORS * DAYS_ASKED * INCIDENTS_A_DAY + 2 * 1_024 * len(MINISTRIES),
    "inbox": SENSORS // len(MINISTRIES) * INCIDENTS_A_DAY + 2 * 1_024,
    "coverage_by_site": SENSORS * 2 * 24 + 2 * 1_024,
    "sensors_silent": 2 * SENSORS + 1,
    # The query asks for the sensors three times.
    "sensors_that_judge_differently": 3 * (2 * SENSORS + 1),
}

random.seed(16)
faults = []


def fault(text):
    faults.append(text)
    print(f"wrong: {text}")


def template(matches):
    return next(event for event in templates if matches(event))


INCIDENT = template(lambda event: event.get("alert", {}).get("gid") == 7 and "regions" in event["alert"]["context"]["vigie"])
ALERT = template(lambda event: event.get("alert", {}).get("gid") == 1 and "incident" in event["alert"]["metadata"])
AUDIT = template(lambda event: event.get("alert", {}).get("metadata", {}).get("audit") == ["policy-changed"])
COVERAGE = template(lambda event: "flowints" in event.get("metadata", {}))


def text_of(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def new_id():
    return f"{random.getrandbits(64):016x}"


def sensor(number):
    return f"tap-{number:02}", MINISTRIES[number % len(MINISTRIES)], f"site-{number // 2:02}"


def incident_lines(number, day, place, truth):
    name, ministry, site = sensor(number)
    service, verdict = random.choice(SERVICES)
    incident = f"{number:02}{day:%m%d}{place:02}-x"
    bytes_of = {region: 0 for region in random.sample(REGIONS, 2)}
    for revision, state in enumerate(["opened", "continues", "closed"], 1):
        event = copy.deepcopy(INCIDENT)
        at = datetime.datetime.combine(day, datetime.time(8 + 3 * revision, place, random.randrange(60), random.randrange(10**6)))
        event.update(timestamp=text_of(at), host=name)
        bytes_of = {region: count + random.randrange(10**6) for region, count in bytes_of.items()}
        event["alert"]["metadata"].update(
            event_id=[new_id()], incident=[incident], incident_state=[state], ministry=[ministry], site=[site], service=[service], verdict=[verdict], day=[str(day)], ban=["fr"]
        )
        names = [f"api{random.randrange(99)}-{random.choice(['normal', 'core', 'log'])}-no1a.tiktokv.eu" for _ in range(random.randrange(1, 9))]
        client = f"10.{number}.{random.randrange(256)}.{random.randrange(256)}"
        event["alert"]["metadata"].update(names=names, reasons=[f"native interface families: {', '.join(names)}"], client=[client])
        event.update(src_ip=client)
        event["alert"]["context"]["vigie"].update(
            revision=revision, flows=random.randrange(500), regions=[{"region": region, "bytes_toserver": count // 10, "bytes_toclient": count} for region, count in bytes_of.items()]
        )
        yield event
        alert = copy.deepcopy(ALERT)
        alert.update(timestamp=text_of(at), host=name)
        alert["alert"]["metadata"].update(event_id=[new_id()], incident=[incident], service=[service], name=[random.choice(names)])
        alert.update(src_ip=client, dest_ip=f"71.18.{random.randrange(256)}.{random.randrange(256)}")
        alert["flow"].update(bytes_toserver=random.randrange(10**5), bytes_toclient=random.randrange(10**6))
        yield alert
    if day <= LAST_DAY - datetime.timedelta(DAYS_ASKED):
        return
    truth["incidents"][str(day), ministry] += 1
    truth["services"][service] += 1
    for region, count in bytes_of.items():
        truth["regions"][region or "none in the name"] += count


def coverage_lines(number, truth):
    """The last day, minute by minute. Sensor 7 is blind for an hour, sensor 8 stops at noon; 9 and 10 judge differently."""
    name, ministry, site = sensor(number)
    for minute in range(720 if number == 8 else 1440):
        for interface in ["eth0", "eth1"]:
            event = copy.deepcopy(COVERAGE)
            at = datetime.datetime.combine(LAST_DAY, datetime.time(minute // 60, minute % 60))
            event.update(timestamp=text_of(at), host=name, in_iface=interface)
            is_blind = number == 7 and 600 <= minute < 660
            event["metadata"]["flowints"].update(
                {
                    "vigie.blind_s": 60 if is_blind else 0,
                    "vigie.drops_ppm": random.choice([0, 0, 0, random.randrange(100)]),
                    "vigie.hellos": random.randrange(5_000),
                    "vigie.hellos_nameless": random.randrange(50),
                    "vigie.hellos_ech": random.randrange(2_000),
                    "vigie.policy": "other" if number == 9 else f"policy of {ministry}",
                    "vigie.signatures": "old" if number == 10 else "new",
                }
            )
            truth["blind"][ministry, site] += is_blind
            truth["seen"][ministry, site] += not is_blind
            yield event


def events(truth):
    for number in range(SENSORS):
        for days in range(DAYS):
            day = LAST_DAY - datetime.timedelta(days)
            for place in range(INCIDENTS_A_DAY):
                yield from incident_lines(number, day, place, truth)
        audit = copy.deepcopy(AUDIT)
        audit.update(host=sensor(number)[0])
        audit["alert"]["metadata"]["policy"] = [f"policy of {sensor(number)[1]}"]
        audit["timestamp"] = text_of(datetime.datetime.combine(LAST_DAY - datetime.timedelta(1), datetime.time()))
        yield audit
        yield from coverage_lines(number, truth)


def statements(path):
    text = "\n".join(line for line in path.read_text().split("\n") if not line.startswith("--"))
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def check_kafka(session):
    """The engine is in chdb, and checks its settings; it cannot start its consumers there."""
    table, view = statements(folder / "clickhouse/2-kafka.sql")
    try:
        session.query(table)
    except Exception as error:
        if "Shutdown was called" not in str(error):
            fault(f"2-kafka.sql: {error}")
    session.query(f"EXPLAIN AST {view}")


def load(session, truth, place):
    lines = [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events(truth)]
    kinds = collections.defaultdict(list)
    for line in lines:
        kind = re.search(r'"gid":(\d)', line)
        at = datetime.datetime.fromisoformat(line[14:40])
        kinds[kind[1] if kind else "coverage"].append((at, len(line.encode()) + 1))
    lines += random.sample(lines, len(lines) // 50)
    random.shuffle(lines)
    # What is no event must not stop the others.
    lines.insert(1_000, '{"timestamp":"2026-11-27T00:00:00.000000+0000","event_type":"alert","alert":{"gid":"x","metadata":7}}')
    lines.insert(2_000, "no JSON at all")
    blocks = range(0, len(lines), BLOCK)
    for number, start in enumerate(blocks):
        path = place / f"{number}.txt"
        path.write_text("\n".join(lines[start : start + BLOCK]) + "\n")
        session.query(f"INSERT INTO vigie.lines SELECT line FROM file('{path}', LineAsString, 'line String')")
    return len(lines), len(blocks), kinds


def check(session, queries, truth, parts):
    parameters = {
        "from": LAST_DAY - datetime.timedelta(DAYS_ASKED - 1),
        "to": LAST_DAY,
        "now": f"{LAST_DAY + datetime.timedelta(1)} 00:00:30",
        "ministry": "culture",
    }
    rows_of = {}
    for path in queries:
        query = path.read_text().strip()
        of_query = dict(parameters)
        if path.stem == "coverage_by_site":
            of_query["from"] = LAST_DAY
        for name, value in of_query.items():
            query = re.sub(r"\{" + name + r":(\w+)\}", lambda match: f"to{match[1]}('{value}')" if match[1] != "String" else f"'{value}'", query)
        result = session.query(query, "JSON")
        answer = json.loads(result.data())
        read = result.storage_rows_read()
        bound = ROWS_MAX[path.stem] * parts
        print(f"{path.stem}: {answer['rows']} rows of answer, {read} read of at most {bound}, {result.elapsed() * 1000:.0f} ms")
        if not 0 < read <= bound:
            fault(f"{path.stem} reads {read} rows")
        rows_of[path.stem] = answer["data"]
    number = lambda value: int(value)
    got = {(row["day"], row["ministry"]): number(row["incidents"]) for row in rows_of["incidents_by_ministry_and_day"]}
    if got != truth["incidents"]:
        fault(f"incidents by ministry and day: {list(got.items())[:3]}, {list(truth['incidents'].items())[:3]}")
    got = {row["service"]: number(row["incidents"]) for row in rows_of["incidents_by_service"]}
    if got != truth["services"]:
        fault(f"incidents by service: {got}, {truth['services']}")
    got = {row["region_name"]: number(row["bytes_toclient"]) for row in rows_of["bytes_by_region"]}
    if got != truth["regions"]:
        fault(f"bytes by region: {got}, {truth['regions']}")
    wanted = sum(1 for one in range(SENSORS) if sensor(one)[1] == "culture") * INCIDENTS_A_DAY
    if len(rows_of["inbox"]) != wanted or {row["newest_state"] for row in rows_of["inbox"]} != {"closed"}:
        fault(f"inbox: {len(rows_of['inbox'])} of {wanted}: {rows_of['inbox'][:2]}")
    possible = collections.Counter()
    for one in range(SENSORS):
        possible[sensor(one)[1:]] += 2 * 1440
    for row in rows_of["coverage_by_site"]:
        at = row["ministry"], row["site"]
        wanted = [round(100 * truth[kind][at] / possible[at], 2) for kind in ["seen", "blind"]]
        if [row["seen_percent"], row["blind_percent"]] != wanted:
            fault(f"coverage of {at}: {row}, not {wanted}")
    if len(rows_of["coverage_by_site"]) != len(possible):
        fault(f"coverage: {len(rows_of['coverage_by_site'])} sites of {len(possible)}")
    if [row["sensor"] for row in rows_of["sensors_silent"]] != ["tap-never", "tap-08"]:
        fault(f"silent: {rows_of['sensors_silent']}")
    got = [(row["sensor"], row["other_policy"], row["other_signatures"]) for row in rows_of["sensors_that_judge_differently"]]
    if got != [("tap-09", 1, 0), ("tap-10", 0, 1)]:
        fault(f"judge differently: {got}")


def for_grafana(query):
    """A query as the dashboard has it: without its comment, and with Grafana's variables."""
    query = "\n".join(line for line in query.split("\n") if not line.startswith("--")).strip()
    variables = {
        "{from:Date}": "toDate($__from / 1000)",
        "{to:Date}": "toDate($__to / 1000)",
        "{now:DateTime}": "now()",
        "{ministry:String}": "${ministry:singlequote}",
    }
    for parameter, variable in variables.items():
        query = query.replace(parameter, variable)
    return query


def check_dashboard(queries):
    """Each query is a panel; panels do not overlap; rules and dashboard name only metrics that exist."""
    text = (folder / "grafana-fleet.json").read_text()
    panels = json.loads(text)["panels"]
    shown = {target["rawSql"] for panel in panels for target in panel["targets"] if "rawSql" in target}
    if shown != {for_grafana(path.read_text()) for path in queries}:
        fault("grafana-fleet.json: its queries are not those of clickhouse/queries")
    cells = collections.Counter()
    for panel in panels:
        at = panel["gridPos"]
        cells.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    if max(cells.values()) > 1 or max(x for x, _ in cells) > 23:
        fault("grafana-fleet.json: panels overlap")
    rules = (folder / "prometheus/fleet.rules.yml").read_text()
    recorded = set(re.findall(r"record: (\S+)", rules))
    sources = "".join(
        path.read_text() for place in ["src/telemetry", "forward/src"] for path in (folder / "../.." / place).rglob("*.rs")
    )
    expressions = [target["expr"] for panel in panels for target in panel["targets"] if "expr" in target]
    for name in set(re.findall(r"[a-z:]*vigie_[a-z0-9_:]+", " ".join([*expressions, *re.findall(r"expr: .*(?:\n {10,}.*)*", rules)]))):
        # The forwarder's come with its telemetry.
        if name.startswith("vigie_forward_") and '"vigie_forward_' not in sources:
            continue
        if name not in recorded and f'"{name}"' not in sources:
            fault(f"no metric {name}")


def sizes(session, kinds):
    print("bytes an event as a line, and on disk in its table:")
    tables = {"7": "incidents", "1": "alerts", "8": "audit", "coverage": "coverage"}
    for kind, table in tables.items():
        session.query(f"OPTIMIZE TABLE vigie.{table} FINAL")
        size = session.query(f"SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE database = 'vigie' AND table = '{table}' AND active", "JSONCompact")
        disk, rows = map(int, json.loads(size.data())["data"][0])
        # Alerts are forgotten after 30 days, give or take the day on which this runs.
        kept = [sum(at > NOW - datetime.timedelta(days) for at, _ in kinds[kind]) for days in ([29, 31] if kind == "1" else [90, 90])]
        if not kept[0] <= rows <= kept[1]:
            fault(f"{table} has {rows} rows of {kept} events")
        line = sum(size for _, size in kinds[kind]) / len(kinds[kind])
        print(f"  {table}: {line:.0f} as a line, {disk / rows:.0f} on disk, {rows} rows")


with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    session = Session(str(place / "clickhouse"))
    truth = {key: collections.Counter() for key in ["incidents", "services", "regions", "blind", "seen"]}
    for name in ["1-tables.sql", "3-views.sql"]:
        for statement in statements(folder / "clickhouse" / name):
            session.query(statement)
    check_kafka(session)
    rows = ", ".join(str(sensor(number)) for number in range(SENSORS)) + ", ('tap-never', 'health', 'site-99')"
    session.query(f"INSERT INTO vigie.sensors VALUES {rows}")
    count, parts, kinds = load(session, truth, place)
    print(f"{count} lines of {SENSORS} sensors loaded, in {parts} inserts")
    queries = sorted((folder / "clickhouse/queries").glob("*.sql"))
    if {path.stem for path in queries} != ROWS_MAX.keys():
        fault("each query has a bound")
    check(session, queries, truth, parts)
    check_dashboard(queries)
    sizes(session, kinds)
if faults:
    sys.exit(f"{len(faults)} faults")
