//! Policies as people write them, and the errors that they get.

use std::fs;

use time::macros::{date, datetime};
use vigie_judgement::policy::{DerogationState, IdentityRule, Outcome, Ruling, ScopeKind, Subject};

use super::*;

/// A folder with a policy file and those that it names.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    fn load(&self) -> Result<LoadedPolicy, ConfigErrors> {
        LoadedPolicy::from_file(&self.folder.path().join("policy.toml"), &Bundle::builtin())
    }

    fn policy(&self) -> Policy {
        self.load().unwrap_or_else(|errors| panic!("{errors}")).policy
    }

    /// Errors and warnings without the folder's name, a line each.
    fn findings(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let findings = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(errors) => errors.0,
        };
        findings.iter().map(|finding| finding.to_string().replace(&folder, "")).collect()
    }
}

fn policy_file(text: &str) -> Scene {
    Scene::new(&[("policy.toml", text)])
}

/// Whom a contact with a service at noon of 27 November 2026 concerns.
fn ruling<'p>(policy: &'p Policy, address: &str, service: &str) -> Ruling<'p> {
    let time_ns = datetime!(2026-11-27 12:00 UTC).unix_timestamp_nanos() as u64;
    let subject = Subject { time_ns, address: address.parse().unwrap(), mac: None, vlan: None, interface: "" };
    policy.rule(&subject, Bundle::builtin().service(service).unwrap())
}

const ENTRY: &str = "[[derogation]]\nid = \"2026-001\"\nwho = [\"10.1.0.7\", \"label:phone-1\"]\nservices = [\"tiktok\"]\n\
    from = \"2026-11-10\"\nuntil = \"2026-12-01\"\nadded = \"2026-11-09\"\nreason = \"account\"\napprover = \"SG\"\n\
    reference = \"SG-17\"\n";

#[test]
fn a_whole_policy() {
    let scene = Scene::new(&[
        (
            "policy.toml",
            "[policy]\nassets = \"assets.csv\"\nderogations = \"derogations.toml\"\n\n[[ban]]\nuse = \"fr\"\n\
             services = [\"tiktok\", \"netflix\", \"snapchat\"]\nsite_visits = true\nseverity_web = 2\n\n[[ban]]\nid = \"apps\"\n\
             title = \"Other apps\"\nform = \"watch\"\ntime_zone = \"Europe/Paris\"\nservices = [\"temu\"]\n\n[[scope]]\n\
             name = \"paris\"\nkind = \"official\"\nprefixes = [\"10.1.0.0/16\", \"2001:db8::/48\"]\nsite = \"Paris\"\n\
             identity = \"prefix_per_device\"\n\n[[scope]]\nname = \"guests\"\nkind = \"guest\"\nvlans = [90]\n",
        ),
        ("assets.csv", "prefix,label,scope\n10.1.0.8,phone-1,\n10.1.0.0/24,,sensitive\n"),
        ("derogations.toml", ENTRY),
    ]);
    let policy = scene.policy();
    assert_eq!(scene.findings(), [""; 0]);
    assert!(!policy.has_builtin_bans());
    assert_eq!(policy.summary(), "2 scopes, 2 assets, all others out of scope; ban: fr; watched: temu");
    assert_eq!(policy.scopes()[0].identity, IdentityRule::PrefixPerDevice);
    let Ruling::Judged(judged) = ruling(&policy, "10.1.0.9", "snapchat") else { panic!() };
    assert_eq!((judged.kind, judged.site, judged.scope), (ScopeKind::Sensitive, "Paris", "paris"));
    assert_eq!(judged.bans[0].outcome(vigie_judgement::Kind::Site), Outcome::Incident(1), "2, one up");
    assert!(matches!(ruling(&policy, "10.1.0.9", "king"), Ruling::NotBanned), "the operator's list has no games");
    assert!(matches!(ruling(&policy, "10.1.0.9", "temu"), Ruling::Judged(_)));
    assert!(matches!(ruling(&policy, "10.1.0.7", "tiktok"), Ruling::Excused(_)));
    assert!(matches!(ruling(&policy, "10.1.0.8", "tiktok"), Ruling::Excused(_)), "by its label");
    assert!(matches!(ruling(&policy, "192.0.2.1", "tiktok"), Ruling::OutOfScope));
    assert_eq!(policy.derogations()[0].state_at(date!(2026 - 11 - 27)), DerogationState::Active(4));
}

#[test]
fn the_example_of_the_package_is_sound() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policy/policy.toml");
    let loaded = LoadedPolicy::from_file(&path, &Bundle::builtin()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.policy.derogations().len(), 1);
    let text =
        "5 scopes, 3 assets, all others out of scope; bans: fr, our-deepseek; watched: all of ByteDance's services";
    assert_eq!(loaded.policy.summary(), text);
}

#[test]
fn without_bans_the_built_in_ones_apply() {
    let policy = policy_file("[policy]\nunlisted = \"official\"\n").policy();
    assert!(policy.has_builtin_bans());
    assert!(matches!(ruling(&policy, "192.0.2.1", "capcut"), Ruling::Judged(_)));
    // The configuration of a sensor is a policy file, too.
    let text = "[capture]\ninterfaces = [\"eth1\"]\n[policy]\nunlisted = \"out\"\n";
    assert!(matches!(ruling(&policy_file(text).policy(), "192.0.2.1", "tiktok"), Ruling::OutOfScope));
}

#[test]
fn wrong_policies_name_file_line_key_and_mend() {
    let own = "[[ban]]\nid = \"own\"\ntitle = \"T\"\ntime_zone = \"Europe/Paris\"\nin_force = \"2026-01-01\"\n\
        forbids = [\"install\"]\nservices = [\"tiktok\"]\n";
    for (text, expected) in [
        ("[[ban]]\nuse = \"fra\"\n", "policy.toml:2: ban.use = \"fra\": no ban has this id; did you mean \"fr\"?"),
        (
            "[[ban]]\nuse = \"fr\"\n[[ban]]\nuse = \"fr\"\n",
            "policy.toml:4: ban.use = \"fr\": this ban is used already; keep one of the two",
        ),
        ("[[ban]]\nuse = \"fr\"\nseverty = 1\n", "policy.toml:3: ban.severty: unknown key; did you mean severity?"),
        (
            "[[ban]]\nuse = \"fr\"\nseverity = 4\n",
            "policy.toml:3: ban.severity: expected a number from 1 to 3; write severity = 1, for example",
        ),
        (
            "[[ban]]\nuse = \"fr\"\nservices = [\"tictok\"]\n",
            "policy.toml:3: ban.services = \"tictok\": no signature has this; did you mean \"tiktok\"?",
        ),
        (
            "[[ban]]\nuse = \"fr\"\nservices = [\"signal\"]\n",
            "policy.toml:3: warning: ban.services: the service \"signal\" is off, so nothing of it is recognised; set enabled = true for it in a file of signatures.folder",
        ),
        (
            "[[ban]]\nuse = \"ca\"\nservices = [\"netflix\"]\n",
            "policy.toml:3: ban.services: the text of the ban \"ca\" names the services itself; remove this key, or write a ban of your own with an id instead of 'use'",
        ),
        (
            "[[ban]]\nseverity = 1\n",
            "policy.toml:1: ban.use: neither use nor id is given; write use = \"fr\", or id = … for a ban of your own",
        ),
        (
            &own.replace("\"Europe/Paris\"", "\"Europe/Pariss\""),
            "policy.toml:4: ban.time_zone: not in the time zone database; write a name such as \"Europe/Paris\"",
        ),
        (&format!("{own}sevrity = 1\n"), "policy.toml:8: ban.sevrity: unknown key \"sevrity\""),
        (
            &own.replace("\"tiktok\"", "\"tictok\""),
            "policy.toml:7: ban.services = \"tictok\": no signature has this; did you mean \"tiktok\"?",
        ),
        (
            "[[scope]]\nname = \"a\"\nkind = \"offical\"\nvlans = [1]\n",
            "policy.toml:3: scope.kind = \"offical\": not a word that is known here; write one of official, sensitive, connected, enrolled, contractor, guest, personal",
        ),
        (
            "[[scope]]\nname = \"a\"\nkind = \"guest\"\nprefixes = [\"10.1.2.3/8\"]\n",
            "policy.toml:4: scope.prefixes = \"10.1.2.3/8\": bits are set behind the prefix length; write 10.0.0.0/8",
        ),
        (
            "[[scope]]\nname = \"a\"\nkind = \"guest\"\nvlans = [4095]\n",
            "policy.toml:4: scope.vlans: expected a number from 1 to 4094; write vlans = 1, for example",
        ),
        (
            "[[scope]]\nname = \"a\"\nkind = \"guest\"\n",
            "policy.toml:1: scope.prefixes: the scope names no clients; add prefixes, vlans or interfaces; policy.unlisted is for all other clients",
        ),
        (
            "[[scope]]\nkind = \"guest\"\nvlans = [1]\n",
            "policy.toml:1: scope.name: name is missing; add name = \"headquarters\"",
        ),
        (
            "[[scope]]\nvlans = [1]\n",
            "policy.toml:1: scope.name: name and kind are missing; add name = \"headquarters\"; kind = \"official\"",
        ),
        (
            "[[ban]]\nid = \"own\"\ntitle = \"T\"\n",
            "policy.toml:1: ban.time_zone: time_zone, in_force, forbids and services are missing; add time_zone = \"Europe/Paris\"; in_force = \"YYYY-MM-DD\"; forbids = [\"install\", \"use\", \"traffic\"]; services = [\"tiktok\"]",
        ),
        (
            "[[scope]]\nname = \"a\"\nkind = \"guest\"\nprefixes = [\"10.0.0.0/8\"]\n[[scope]]\nname = \"b\"\nkind = \"official\"\nprefixes = [\"10.0.0.0/8\"]\n",
            "policy.toml:8: scope.prefixes: the scope \"a\" has 10.0.0.0/8 already; keep one of the two",
        ),
        ("[ban]\nuse = \"fr\"\n", "policy.toml:1: ban: a list of tables; write [[ban]] and its keys below"),
        ("scope = [1]\n", "policy.toml:1: scope: not a list of tables; write [[scope]] and its keys below"),
        (
            "[policy]\nunlisted = \"guests\"\n",
            "policy.toml:2: policy.unlisted = \"guests\": expected auto, official or out; the default is \"auto\"",
        ),
        (
            "[policy]\nassets = \"no.csv\"\n",
            "no.csv: policy.assets: the asset list cannot be read: No such file or directory (os error 2); check path and permissions",
        ),
        (
            "[policy]\nassets = \"policy.toml\"\n",
            "policy.toml: policy.assets: neither CSV nor JSON lines; end its name in .csv or .jsonl",
        ),
        (
            "[policy]\nderogations = \"no.toml\"\n",
            "no.toml: policy.derogations: the register cannot be read: No such file or directory (os error 2); check path and permissions",
        ),
        (
            "[policy]\nbans = \"no\"\n",
            "no: cannot be listed: No such file or directory (os error 2); give a directory that the sensor may read",
        ),
        (
            "[privacy]\ndebug_until = \"tomorrow\"\n",
            "policy.toml:2: privacy.debug_until = \"tomorrow\": not a day; write it like \"2026-11-27\": year, month, day",
        ),
    ] {
        let findings = policy_file(text).findings();
        assert!(findings.len() == 1 && findings[0].starts_with(expected), "{text}{findings:#?}");
    }
}

#[test]
fn wrong_asset_lists_name_line_and_mend() {
    for (name, text, expected) in [
        (
            "a.csv",
            "prefix,label\n10.0.0.1,a\n10.0.0.300,b\n",
            "a.csv:3: prefix = \"10.0.0.300\": not an address or prefix; write one such as 10.20.0.0/16 or 2001:db8::/48",
        ),
        (
            "a.csv",
            "mac,label\n02:00:5e:10:00,a\n",
            "a.csv:2: mac = \"02:00:5e:10:00\": not a MAC address; write one such as 02:00:5e:10:00:01",
        ),
        ("a.csv", "prefix,labl\n", "a.csv:1: column = \"labl\": unknown column; did you mean label?"),
        (
            "a.csv",
            "10.0.0.1,a\n",
            "a.csv:1: column = \"10.0.0.1\": unknown column; the first line names the columns: prefix, mac, label, site, ministry, scope",
        ),
        (
            "a.csv",
            "label,site\na,b\n",
            "a.csv:1: no column prefix or mac; begin the file with a line of column names: prefix,mac,label,site,ministry,scope",
        ),
        (
            "a.csv",
            "prefix,label\n10.0.0.1,a,b\n",
            "a.csv:2: 3 columns instead of 2; write as many commas in each line; a text with a comma stands in quotation marks",
        ),
        (
            "a.csv",
            "prefix,label\n10.0.0.1,a\n# comment\n\n10.0.0.1/32,b\n",
            "a.csv:5: the same prefix or MAC address as in line 2; keep one of the two lines",
        ),
        (
            "a.csv",
            "prefix,label,scope\n10.0.0.1,a,guests\n",
            "a.csv:2: scope = \"guests\": not a word that is known here; write one of official, sensitive, connected, enrolled, contractor, guest, personal",
        ),
        ("a.csv", "prefix,mac,label\n,,a\n", "a.csv:2: prefix: neither prefix nor MAC address; give one of the two"),
        (
            "a.jsonl",
            "{\"prefix\":\"10.0.0.1\"}\n{\"prefix\":1}\n",
            "a.jsonl:2: not an entry: invalid type: integer `1`, expected a string; write an object with prefix, mac, label, site, ministry, scope, all texts",
        ),
        (
            "a.jsonl",
            "{\"prefix\":\"10.0.0.1\",\"lable\":\"x\"}\n",
            "a.jsonl:1: not an entry: unknown field `lable`, expected one of `prefix`",
        ),
        (
            "a.jsonl",
            "\n{\"prefix\":\"10.0.0.1/8\"}\n",
            "a.jsonl:2: prefix = \"10.0.0.1/8\": bits are set behind the prefix length; write 10.0.0.0/8",
        ),
    ] {
        let scene = Scene::new(&[("policy.toml", &format!("policy.assets = \"{name}\"\n")), (name, text)]);
        let findings = scene.findings();
        // The value of a column is its name.
        let found = findings.first().map(|line| line.replacen(": = \"labl\"", "", 1)).unwrap_or_default();
        assert!(found.starts_with(expected), "{text}{findings:#?}");
    }
}

#[test]
fn json_lines_and_csv_say_the_same() {
    let csv = "\u{feff}prefix, mac, label, site, ministry, scope\n10.0.0.0/24,,,\"Lyon, Part-Dieu\",Interior,sensitive\n\
        ,02:00:5e:10:00:01,phone,,,\n";
    let json = "{\"prefix\":\"10.0.0.0/24\",\"site\":\"Lyon, Part-Dieu\",\"ministry\":\"Interior\",\"scope\":\"sensitive\"}\n\
        {\"mac\":\"02:00:5e:10:00:01\",\"label\":\"phone\"}\n";
    for (name, text) in [("a.csv", csv), ("a.jsonl", json)] {
        let scene = Scene::new(&[("policy.toml", &format!("policy.assets = \"{name}\"\n")), (name, text)]);
        let policy = scene.policy();
        let asset = policy.assets().by_address("10.0.0.9".parse().unwrap()).unwrap();
        assert_eq!(
            (asset.site, asset.ministry, asset.kind),
            ("Lyon, Part-Dieu", "Interior", Some(ScopeKind::Sensitive))
        );
        assert_eq!(policy.assets().by_mac("02:00:5e:10:00:01".parse().unwrap()).unwrap().label, "phone");
    }
}

#[test]
fn wrong_registers_name_line_and_mend() {
    for (from, to, expected) in [
        (
            "2026-11-10",
            "2026-11-08",
            "derogations.toml:5: derogation.from: backdated: the entry was added on 2026-11-09, after its first day; write 2026-11-09 or later; what was recorded before an exemption stays recorded",
        ),
        (
            "2026-12-01",
            "2026-11-01",
            "derogations.toml:6: derogation.until: is before the first day, 2026-11-10; correct one of the two days",
        ),
        (
            "\"2026-12-01\"",
            "\"soon\"",
            "derogations.toml:6: derogation.until = \"soon\": not a day; write it like \"2026-11-27\": year, month, day",
        ),
        (
            "[\"tiktok\"]",
            "[\"tiktoc\"]",
            "derogations.toml:4: derogation.services = \"tiktoc\": no signature has this service; did you mean \"tiktok\"?",
        ),
        (
            "10.1.0.7",
            "somebody",
            "derogations.toml:3: derogation.who = \"somebody\": not an address, prefix or MAC address; write one such as 10.20.0.7, 10.20.0.0/16 or 02:00:5e:10:00:01, or label: and a label of the asset list",
        ),
        (
            "reason = \"account\"\n",
            "",
            "derogations.toml:1: derogation.reason: reason is missing; add reason = \"why it is needed\"",
        ),
        (
            "added = \"2026-11-09\"\n",
            "",
            "derogations.toml:1: derogation.added: added is missing; add added = \"YYYY-MM-DD\"",
        ),
        (
            "until = \"2026-12-01\"\nadded = \"2026-11-09\"\nreason = \"account\"\n",
            "",
            "derogations.toml:1: derogation.until: until, added and reason are missing; add until = \"YYYY-MM-DD\"; added = \"YYYY-MM-DD\"; reason = \"why it is needed\"",
        ),
        ("reason", "raison", "derogations.toml:8: derogation.raison: unknown key; did you mean reason?"),
        (
            "[[derogation]]",
            "[derogation]",
            "derogations.toml:1: derogation: not a list of tables; write [[derogation]] and its keys below",
        ),
        (
            "[[derogation]]",
            "[[exemption]]",
            "derogations.toml:1: exemption: unknown key; a register has only [[derogation]]",
        ),
        ("id = ", "id = id", "derogations.toml:2: not TOML: "),
        (
            "services = ",
            "bans = [\"be-federal\"]\nservices = ",
            "derogations.toml:4: warning: derogation.bans: the policy does not use a ban \"be-federal\"; it uses fr, watch-bytedance",
        ),
    ] {
        let text = ENTRY.replacen(from, to, 1);
        let policy = "policy.derogations = \"derogations.toml\"\n";
        let findings = Scene::new(&[("policy.toml", policy), ("derogations.toml", &text)]).findings();
        assert!(findings.first().is_some_and(|line| line.starts_with(expected)), "{text}{findings:#?}");
    }
    let twice = format!("{ENTRY}{ENTRY}");
    let findings = Scene::new(&[("policy.toml", "policy.derogations = \"d.toml\"\n"), ("d.toml", &twice)]).findings();
    assert_eq!(
        findings,
        ["d.toml:12: derogation.id = \"2026-001\": another entry has this id; give each entry an id of its own"]
    );
}

#[test]
fn entries_are_added_and_ended_and_comments_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("derogations.toml");
    let (bundle, builtin) = (Bundle::builtin(), Policy::builtin());
    let open = || Register::open(&path, &bundle, builtin.bans()).unwrap();
    let day = date!(2026 - 11 - 27);
    let entry = |id: String| Derogation {
        id,
        who: vec!["10.1.0.7".parse().unwrap()],
        services: vec!["tiktok".to_owned()],
        bans: Vec::new(),
        from: day,
        until: date!(2026 - 12 - 31),
        ended: None,
        added: day,
        reason: "the \"account\"".to_owned(),
        approver: "SG".to_owned(),
        reference: "SG-17".to_owned(),
    };
    assert_eq!(open().free_id(day), "2026-001");
    open().add(&entry(open().free_id(day))).unwrap();
    let made = fs::read_to_string(&path).unwrap();
    assert!(
        made.starts_with("# Register of derogations") && made.contains("\n\n[[derogation]]\nid = \"2026-001\"\n"),
        "{made}"
    );
    assert_eq!(open().derogations(), [entry("2026-001".to_owned())]);

    // What people wrote stays as it is: comments, order, spaces, permissions.
    let written = made.replace("who = ", "# a comment\nwho   = ").replace("SG-17\"\n", "SG-17\" # the decision\n");
    fs::write(&path, &written).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let second = open().free_id(day);
    open().add(&entry(second.clone())).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&written) && second == "2026-002", "{text}");
    open().end("2026-001", day).unwrap();
    let ended = fs::read_to_string(&path).unwrap();
    assert_eq!(ended, text.replacen("SG-17\" # the decision\n", "SG-17\" # the decision\nended = \"2026-11-27\"\n", 1));
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o640);
    assert_eq!(open().derogations()[0].state_at(date!(2026 - 11 - 28)), DerogationState::Ended);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");

    // What makes no sense is refused and changes nothing.
    for (result, expected) in [
        (open().end("2026-001", day), "ends on 2026-11-27 already"),
        (open().end("2026-009", day), "has no entry \"2026-009\""),
        (open().add(&entry("2026-001".to_owned())), "has an entry \"2026-001\" already"),
        (open().add(&Derogation { from: date!(2026 - 11 - 26), ..entry("x".to_owned()) }), "--from: backdated"),
        (
            open().add(&Derogation { until: date!(2026 - 11 - 26), ..entry("x".to_owned()) }),
            "--until: is before the first day",
        ),
        (
            open().add(&Derogation { services: vec!["tic".to_owned()], ..entry("x".to_owned()) }),
            "no signature has this service",
        ),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let register = open();
    fs::write(&path, format!("{ended}# somebody was here\n")).unwrap();
    let error = register.end("2026-002", day).unwrap_err().to_string();
    assert!(error.contains("changed by somebody else meanwhile"), "{error}");
    assert!(fs::read_to_string(&path).unwrap().ends_with("# somebody was here\n"));
}

/// Time and memory of a long list; prints both. Run it in release: `cargo test --release -p vigie a_million -- --ignored`.
#[test]
#[ignore = "takes seconds; its bounds are those of a release build"]
fn a_million_assets_take_two_seconds_and_200_mib() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        let number = |text: String| text.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        (number(line("VmRSS:")), number(line("VmHWM:")))
    };
    let folder = tempfile::tempdir().unwrap();
    let row = |number: u32| match number % 4 {
        0 => (format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255), String::new()),
        1 => (format!("2001:db8:{:x}:{:x}::/64", number >> 16, number & 0xffff), String::new()),
        2 => (format!("2001:db8:ffff::{:x}:{:x}", number >> 16, number & 0xffff), String::new()),
        _ => (String::new(), format!("02:00:00:{:02x}:{:02x}:{:02x}", number >> 16, number >> 8 & 255, number & 255)),
    };
    let (mut csv, mut json) = ("prefix,mac,label,site,ministry,scope\n".to_owned(), String::new());
    for number in 0..1_000_000_u32 {
        let ((prefix, mac), site) = (row(number), number % 5000);
        csv.push_str(&format!("{prefix},{mac},device-{number},site-{site},ministry-{},official\n", site % 20));
        let key = if prefix.is_empty() { format!("\"mac\":\"{mac}\"") } else { format!("\"prefix\":\"{prefix}\"") };
        let ministry = site % 20;
        json.push_str(&format!(
            "{{{key},\"label\":\"device-{number}\",\"site\":\"site-{site}\",\"ministry\":\"ministry-{ministry}\",\"scope\":\"official\"}}\n"
        ));
    }
    for (name, text) in [("a.csv", csv), ("a.jsonl", json)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let (before, _) = resident();
        // The time of this thread's CPU: other work of the machine does not count.
        let clock = || {
            let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
            std::time::Duration::from(nix::time::clock_gettime(clock).unwrap())
        };
        let start = clock();
        let assets = assets::read(&path).unwrap();
        let took = clock() - start;
        let (after, most) = resident();
        let (kept, peak) = ((after - before) / 1024, (most.saturating_sub(before)) / 1024);
        println!("{name}: {} assets in {took:?}, {kept} MiB more, at most {peak} MiB more", assets.len());
        assert_eq!(assets.by_address("10.3.13.64".parse().unwrap()).unwrap().label, "device-200000");
        assert!(took.as_secs_f64() < 2.0 && kept < 200, "{took:?}, {kept} MiB");
    }
}
