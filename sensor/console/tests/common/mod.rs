//! A console that runs over a journal of its own, asked over real sockets.
// Clippy knows only functions marked as tests, which may panic. Not every test uses all of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, dead_code, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const LONG: Duration = Duration::from_secs(20);
pub const ID: &str = "k7q2m-4x9d0-f";
pub const CLIENT: &str = "10.16.0.105";

/// A console that runs.
pub struct Console {
    pub folder: TempDir,
    pub child: Child,
    pub port: u16,
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Console {
    /// Starts one over a journal; further arguments after `--set`.
    pub fn start(journal: &str, settings: &[&str]) -> Self {
        Self::start_with(journal, &["--config"], settings)
    }

    pub fn demo(journal: &str) -> Self {
        Self::start_with(journal, &["--demo"], &[])
    }

    pub fn start_with(journal: &str, how: &[&str], settings: &[&str]) -> Self {
        Self::start_within(&[], journal, how, settings)
    }

    /// Starts one by another program, which becomes it.
    pub fn start_within(wrapper: &[&str], journal: &str, how: &[&str], settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("journal")).unwrap();
        fs::write(path("journal").join("00000001.jsonl"), journal).unwrap();
        let hash = |word: &str| bcrypt::hash(word, 4).unwrap();
        let users = format!("basic_auth_users:\n  ana: {}\n  vera: {}\n", hash("pass-a"), hash("pass-v"));
        fs::write(path("users.yml"), users).unwrap();
        fs::write(path("console.toml"), "").unwrap();
        fs::write(path("derogations.toml"), register(&MARKS.concat())).unwrap();
        fs::create_dir(path("candidates")).unwrap();
        fs::write(path("candidates/candidates-2026-11-27.jsonl"), candidates(&MARKS.concat())).unwrap();
        let program = [wrapper, &[env!("CARGO_BIN_EXE_vigie-console")]].concat();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        let shown = |name: &str| path(name).display().to_string();
        if how == ["--demo"] {
            command.arg("--demo").arg(path("journal"));
        } else {
            command.arg("--config").arg(path("console.toml"));
            command.args(["--set", &format!("journal.folder={}", shown("journal"))]);
        }
        command.args(["--set", &format!("state.folder={}", shown("state")), "--set", "server.listen=127.0.0.1:0"]);
        command.args(["--set", &format!("sensor.derogations={}", shown("derogations.toml"))]);
        command.args(["--set", &format!("sensor.candidates_folder={}", shown("candidates"))]);
        command.args(["--set", &format!("links.templates={LINKS}")]);
        for setting in settings {
            command.args(["--set", &setting.replace("FOLDER", &folder.path().display().to_string())]);
        }
        let (child, port) = spawn(&mut command);
        Self { folder, child, port }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn ask(&self, request: &str) -> Answer {
        exchange(TcpStream::connect(("127.0.0.1", self.port)).unwrap(), request)
    }

    pub fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"))
    }

    pub fn post(&self, path: &str, cookie: &str, headers: &str, form: &str) -> Answer {
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{headers}Connection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))
    }

    /// Signs in; the cookie.
    pub fn sign_in(&self, user: &str, password: &str) -> String {
        let answer = self.post("/sign-in", "", "", &format!("user={user}&password={password}&next=/"));
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.cookie()
    }

    /// Waits until a page has what is looked for.
    pub fn until(&self, path: &str, cookie: &str, wanted: &str) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.get(path, cookie);
            if answer.text.contains(wanted) {
                return answer;
            }
            assert!(began.elapsed() < LONG, "no {wanted:?} on {path}: {}", answer.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Starts a console that says on which port it answers.
pub fn spawn(command: &mut Command) -> (Child, u16) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut port = 0;
    let mut said = String::new();
    while !said.contains("answers on") {
        let before = said.len();
        assert!(errors.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        port = said[before..].rsplit(':').next().unwrap().trim_end_matches("/\n").parse().unwrap_or(0);
    }
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    (child, port)
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn cookie(&self) -> String {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: vigie_session="));
        line.unwrap()[12..].split(';').next().unwrap().to_owned()
    }

    pub fn csrf(&self) -> String {
        let at = self.text.find("name=\"csrf\" value=\"").unwrap() + 19;
        self.text[at..].split('"').next().unwrap().to_owned()
    }
}

pub fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), text: body.to_owned() }
}

/// A journal of one incident, in all of whose texts `mark` stands.
pub fn journal(mark: &str) -> String {
    let text = |plain: &str| serde_json::to_string(&format!("{plain}{mark}")).unwrap();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
    let day = &now[..10];
    let incident = format!(
        r#"{{"timestamp":"{now}","event_type":"alert","alert":{{"gid":7,"signature_id":1,"severity":1,"metadata":{{"event_id":["00aa"],"incident":["{ID}"],"incident_state":["opened"],"client":["{CLIENT}"],"device":[{device}],"service":["tiktok"],"service_name":[{service}],"verdict":["app"],"kind":[{kind}],"ban":["fr"],"ban_title":[{title}],"authority":[{authority}],"day":["{day}"],"scope":[{scope}],"site":[{site}],"ministry":[{ministry}],"reasons":[{reason},"native interface families: tnc"],"names":[{name}],"server_country":[{country}]}},"context":{{"vigie":{{"revision":1,"flows":1,"bytes_toserver":10,"bytes_toclient":20,"reason_ids":[{{"id":{reason}}},{{"id":"native-families","about":["tnc"]}}],"regions":[{{"region":{region},"bytes_toserver":1,"bytes_toclient":2}}],"first":"{now}","last":"{now}"}}}}}}}}"#,
        device = text("laptop"),
        service = text("TikTok"),
        kind = text("in-use"),
        title = text("title"),
        authority = text("authority"),
        scope = text("offices"),
        site = text("site"),
        ministry = text("ministry"),
        reason = text("a reason "),
        name = text("name"),
        country = text("SG"),
        region = text("Norway"),
    );
    let alert = format!(
        r#"{{"timestamp":"{now}","event_type":"alert","flow_id":7,"src_ip":"{CLIENT}","src_port":50123,"dest_ip":"198.18.0.1","dest_port":443,"proto":{proto},"community_id":"1:abcdefgh=","alert":{{"gid":1,"signature_id":7100103,"metadata":{{"event_id":["00bb"],"incident":["{ID}"],"service":["tiktok"],"ban":["fr"],"name":[{name}],"class":["native"],"family":["tnc"],"evidence":[{evidence}],"rule":[{rule}],"sources":[{source}],"reviewed":[{reviewed}],"region":[{region}]}}}},"tls":{{"sni":"x","ja4":{ja4}}}}}"#,
        proto = text("TCP"),
        name = text("tnc16.tiktokv.eu"),
        evidence = text("tls-sni"),
        rule = text("rule"),
        source = text("source"),
        reviewed = text("2026-11-21"),
        region = text("Norway"),
        ja4 = text("t13d"),
    );
    let audit = format!(
        r#"{{"timestamp":"{now}","event_type":"alert","alert":{{"gid":8,"signature_id":6,"metadata":{{"audit":["disposition"],"incident":["{ID}"],"disposition":[{word}],"note":[{note}],"by":[{by}]}}}}}}"#,
        word = text("confirmed"),
        note = text("note"),
        by = text("dupont"),
    );
    let coverage = format!(
        r#"{{"timestamp":"{now}","event_type":"stats","in_iface":{interface},"stats":{{}},"metadata":{{"flowints":{{"vigie.window_s":60,"vigie.blind_s":3,"vigie.hellos":9,"vigie.policy":{policy},"vigie.signatures":{signatures}}}}}}}"#,
        interface = text("eth1"),
        policy = text("00ff"),
        signatures = text("11ee"),
    );
    [incident, alert, audit, coverage].map(|line| line + "\n").concat()
}

/// Links of a flow and of an incident.
pub const LINKS: &str = r#"["Arkime https://arkime.example/s?e={community_id}&n={name}&p={proto}&t={from_s}", "SIEM https://siem.example/#{client}"]"#;

/// What would be markup, if anything of the record became such.
pub const MARKS: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "</title></textarea><b>",
];

/// A register of derogations, in all of whose texts `mark` stands.
pub fn register(mark: &str) -> String {
    let text = |plain: &str| serde_json::to_string(&format!("{plain}{mark}")).unwrap();
    format!(
        "[[derogation]]\nid = {}\nwho = [{}]\nservices = [\"tiktok\", {}]\nfrom = \"2026-02-01\"\nuntil = \"9999-12-31\"\n\
         added = \"2026-01-28\"\nreason = {}\napprover = {}\nreference = {}\n",
        text("2026-001"),
        text("label:phone-17"),
        text("other"),
        text("an account"),
        text("secretary-general"),
        text("SG-2026-17"),
    )
}

/// A candidate, in all of whose texts `mark` stands.
pub fn candidates(mark: &str) -> String {
    let text = |plain: &str| serde_json::to_string(&format!("{plain}{mark}")).unwrap();
    format!(
        "{{\"name\":{},\"service\":{},\"flows\":7,\"first\":\"2026-11-27T08:00:00.000000+0000\",\"last\":{}}}\n",
        text("new.example.net"),
        text("bytedance-infra"),
        text("2026-11-27T09:00:00.000000+0000"),
    )
}

pub const PASSWORDS: [&str; 2] = ["access.users_file=FOLDER/users.yml", "access.analysts=[\"ana\"]"];

pub fn pages(id: &str, client: &str) -> Vec<String> {
    let mut pages = [
        "/",
        "/?day=all",
        "/coverage",
        "/bans",
        "/ban/fr",
        "/services",
        "/service/tiktok",
        "/destinations",
        "/derogations",
        "/candidates",
        "/audit",
        "/health",
        "/keys",
        "/new?after=0",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.extend([format!("/incident/{id}"), format!("/device/{client}"), format!("/search?q={client}")]);
    pages
}
