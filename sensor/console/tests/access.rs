//! How people are known beside passwords: by certificates over TLS, and by a proxy in front.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use self::common::{CLIENT, Console, ID, LONG, journal};

/// Whether a program is there; says so if it is not.
fn has(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !is_there {
        vigie_skip::skipped(format_args!("{program} is not installed"));
    }
    is_there
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and certificates that it signs: of a server, and of clients.
fn keys(folder: &Path, authority: &str, signed: &[(&str, &str, &str)]) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!("req -x509 {new} -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.crt"),
    );
    for (file, subject, extension) in signed {
        fs::write(folder.join("ext"), format!("{extension}\n")).unwrap();
        openssl(folder, &format!("req {new} -subj /CN={subject} -keyout {file}.key -out {file}.csr"));
        let sign = format!("-CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days 2");
        openssl(folder, &format!("x509 -req -in {file}.csr {sign} -extfile ext -out {file}.crt"));
    }
}

/// What curl got: status, and headers with the body.
fn curl(folder: &Path, url: &str, arguments: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--max-time", "20", "--noproxy", "*", "--cacert", "ca.crt"]);
    let output = command.args(arguments).arg(url).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    (status, text)
}

#[test]
fn people_are_known_by_their_certificates_and_others_are_not() {
    if !has("openssl", "version") || !has("curl", "--version") {
        return;
    }
    let keys_folder = tempfile::tempdir().unwrap();
    let folder = keys_folder.path();
    let client = |extension: &str| format!("extendedKeyUsage=clientAuth\n{extension}");
    let mail = |address: &str| client(&format!("subjectAltName=email:{address}"));
    keys(
        folder,
        "ca",
        &[
            ("server", "server", "subjectAltName=DNS:localhost"),
            ("renewed", "renewed", "subjectAltName=DNS:localhost"),
            ("ana", "somebody", &mail("ana@ministry.example")),
            ("vera", "vera", &client("")),
            ("eve", "ana@ministry.example", &mail("eve@ministry.example")),
        ],
    );
    keys(folder, "stranger", &[("fake", "ana@ministry.example", &mail("ana@ministry.example"))]);
    let hash = bcrypt::hash("pass-a", 4).unwrap();
    let web = |client_auth: &str, users: &str| {
        format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  \
             client_auth_type: {client_auth}\n{users}"
        )
    };
    fs::write(folder.join("web.yml"), web("VerifyClientCertIfGiven", &format!("basic_auth_users:\n  otto: {hash}\n")))
        .unwrap();
    let users_file = format!("access.users_file={}/web.yml", folder.display());
    let settings = [
        users_file.as_str(),
        "access.analysts=[\"ana@ministry.example\"]",
        "access.viewers=[\"vera\"]",
        "server.header_timeout_s=1",
    ];
    let console = Console::start(&journal(""), &settings);
    let url = |path: &str| format!("https://localhost:{}{path}", console.port);
    let as_whom = |who: &str| ["--cert".to_owned(), format!("{who}.crt"), "--key".to_owned(), format!("{who}.key")];
    let get = |path: &str, who: &str, more: &[&str]| {
        let certificate = if who.is_empty() { Vec::new() } else { as_whom(who).to_vec() };
        let arguments: Vec<&str> = certificate.iter().map(String::as_str).chain(more.iter().copied()).collect();
        curl(folder, &url(path), &arguments)
    };
    let began = Instant::now();
    while !get("/", "ana", &[]).1.contains(CLIENT) {
        assert!(began.elapsed() < LONG, "{}", get("/", "ana", &[]).1);
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, page) = get("/", "ana", &[]);
    assert!(status == 200 && page.contains("ana@ministry.example") && page.contains("analyst"), "{page}");
    assert!(!page.contains("Sign out"), "a certificate cannot be signed out");
    let (status, page) = get("/", "vera", &[]);
    assert!(status == 200 && page.contains("viewer") && !page.contains(CLIENT), "by the common name: {page}");
    // A common name beside a mail address counts for nothing, nor does a certificate alone.
    let (status, page) = get("/", "eve", &[]);
    assert!(status == 303 && page.contains("/sign-in"), "{page}");
    assert_eq!(get("/", "", &[]).0, 303);
    assert_eq!(get("/", "fake", &[]).0, 0, "the handshake with a stranger's certificate fails");
    let (status, answer) = get("/sign-in", "", &["--data", "user=otto&password=pass-a"]);
    assert!(status == 303 && answer.contains("SameSite=Lax; Secure"), "{answer}");
    // Forms need the token of the page also here.
    let (_, page) = get(&format!("/incident/{ID}"), "ana", &[]);
    let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let decide = format!("/incident/{ID}/decide");
    for (token, expected) in [("wrong", 403), (token, 303)] {
        assert_eq!(get(&decide, "ana", &["--data", &format!("csrf={token}&as=confirmed")]).0, expected);
    }
    // Neither plain text nor silence gets an answer.
    let mut plain = TcpStream::connect(("127.0.0.1", console.port)).unwrap();
    plain.set_read_timeout(Some(LONG)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut silent = TcpStream::connect(("127.0.0.1", console.port)).unwrap();
    silent.set_read_timeout(Some(LONG)).unwrap();
    for (stream, name) in [(&mut plain, "plain"), (&mut silent, "silent")] {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/1.1"), "{name}");
    }
    // A certificate is renewed, and passwords are taken away, while the console runs confined.
    for kind in ["crt", "key"] {
        fs::copy(folder.join(format!("renewed.{kind}")), folder.join(format!("server.{kind}"))).unwrap();
    }
    fs::write(folder.join("web.yml"), web("VerifyClientCertIfGiven", "")).unwrap();
    let (status, page) = get("/", "eve", &["--verbose"]);
    assert!(status == 403 && page.contains("access.viewers"), "{page}");
    let shown =
        Command::new("curl").args(["-sv", "--cacert", "ca.crt", &url("/")]).current_dir(folder).output().unwrap();
    assert!(
        String::from_utf8_lossy(&shown.stderr).contains("CN=renewed"),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
}

/// An nginx that runs.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Starts an nginx that asks for passwords and names the user to the console's socket; its port.
fn nginx(folder: &Path, socket: &Path, is_root: bool) -> (Nginx, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let user = if is_root { "user nobody nogroup;" } else { "" };
    let (shown, socket) = (folder.display(), socket.display());
    fs::write(folder.join("htpasswd"), "ana:{PLAIN}pass-a\nvera:{PLAIN}pass-v\n").unwrap();
    fs::set_permissions(folder.join("htpasswd"), fs::Permissions::from_mode(0o644)).unwrap();
    let configuration = format!(
        "{user} daemon off; pid {shown}/nginx.pid; worker_processes 1; events {{}}\n\
         http {{ access_log off; client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path \
         {shown}/fastcgi; uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ auth_basic vigie; auth_basic_user_file {shown}/htpasswd;\n\
         proxy_set_header Host $host; proxy_set_header X-Remote-User $remote_user; proxy_pass http://unix:{socket}; }} }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
    let nginx = Nginx(command.stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < LONG, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (nginx, port)
}

/// Runs a program as `PrivateUsers=yes` does, where this machine allows it.
const PRIVATE_USERS: [&str; 3] = ["unshare", "--user", "--map-root-user"];

fn has_user_namespaces() -> bool {
    let [program, arguments @ ..] = PRIVATE_USERS;
    let is_allowed =
        Command::new(program).args(arguments).arg("true").output().is_ok_and(|output| output.status.success());
    if !is_allowed {
        vigie_skip::skipped("no user namespace can be made here");
    }
    is_allowed
}

#[test]
fn behind_a_real_nginx_people_are_known_also_where_user_ids_are_hidden() {
    if !has("nginx", "-v") || !has("curl", "--version") {
        return;
    }
    let is_root = nix::unistd::geteuid().is_root();
    let wrappers: &[&[&str]] = if has_user_namespaces() { &[&[], &PRIVATE_USERS] } else { &[&[]] };
    for wrapper in wrappers {
        let settings = [
            "access.proxy_user_header=X-Remote-User",
            "access.analysts=[\"ana\"]",
            "server.socket=FOLDER/console.sock",
        ];
        let console = Console::start_within(wrapper, &journal(""), &["--config"], &settings);
        let folder = console.folder.path();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let socket = folder.join("console.sock");
        let (_nginx, port) = nginx(folder, &socket, is_root);
        let get = |arguments: &[&str]| curl(folder, &format!("http://127.0.0.1:{port}/"), arguments);
        if is_root {
            // Its workers are in no group of the socket, so they cannot name anybody.
            assert_eq!(get(&["--user", "ana:pass-a"]).0, 502);
            let nobody = nix::unistd::Group::from_name("nogroup").unwrap().unwrap().gid.as_raw();
            chown(&socket, None, Some(nobody)).unwrap();
        }
        let (status, page) = get(&["--user", "ana:pass-a"]);
        assert!(status == 200 && page.contains("<span class=\"who\">ana</span>") && page.contains("analyst"), "{page}");
        let (_, page) = get(&["--user", "vera:pass-v", "--header", "X-Remote-User: ana"]);
        assert!(page.contains("<span class=\"who\">vera</span>") && page.contains("viewer"), "{page}");
        assert_eq!(get(&[]).0, 401, "nginx asks for a password");
        assert_eq!(get(&["--user", "ana:wrong"]).0, 401);
    }
}

#[test]
fn a_proxy_that_cannot_be_known_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let run = |wrapper: &[&str], settings: &[&str]| {
        let program = env!("CARGO_BIN_EXE_vigie-console");
        let mut command = Command::new(wrapper.first().copied().unwrap_or(program));
        command.args(wrapper.iter().skip(1));
        if !wrapper.is_empty() {
            command.arg(program);
        }
        command.arg("--config").arg(folder.path().join("console.toml"));
        command.args(["--set", "access.proxy_user_header=X-Remote-User", "--set", "server.listen=127.0.0.1:0"]);
        command.args(["--set", &format!("state.folder={}", folder.path().join("state").display())]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(folder.path().join("console.toml"), "").unwrap();
    let (code, said) = run(&[], &[]);
    assert!(code == 78 && said.contains("could name any user; set server.socket"), "{code}: {said}");
    if has_user_namespaces() {
        let (code, said) = run(&PRIVATE_USERS, &["access.proxy_uids=[33]"]);
        assert!(code == 78 && said.contains("user id 33 cannot be seen") && said.contains("leave it empty"), "{said}");
    }
}
