//! Delivery by syslog to rsyslog and syslog-ng, as Debian has them: UDP, TCP, TLS with good and bad certificates; servers
//! that stop reading, are killed, and come back.

// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Authority, Place, Running, free_port, has, numbers, until, until_all};

/// Starts rsyslog with these lines of configuration; what it gets goes to `got`, the message only.
fn rsyslog(place: &Place, input: &str) -> Running {
    let got = place.path("got");
    let work = place.folder.path().display().to_string();
    let config = format!(
        "global(workDirectory=\"{work}\" maxMessageSize=\"64k\" defaultNetstreamDriverCAFile=\"{work}/ca.pem\" \
         defaultNetstreamDriverCertFile=\"{work}/server.pem\" defaultNetstreamDriverKeyFile=\"{work}/server.key\")\n\
         template(name=\"plain\" type=\"string\" string=\"%hostname% %app-name% %msgid% %msg%\\n\")\n\
         {input}\nruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{}\" template=\"plain\") }}\n",
        got.display()
    );
    fs::write(place.path("rsyslog.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.args(["-n", "-f"]).arg(place.path("rsyslog.conf")).arg("-i").arg(place.path("rsyslog.pid"));
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// syslog-ng as it is installed, or as `tests/receivers/install` unpacks it: Debian installs it only where rsyslog is not.
fn syslog_ng_program() -> Option<Command> {
    if std::path::Path::new("/usr/sbin/syslog-ng").exists() {
        return Some(Command::new("/usr/sbin/syslog-ng"));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/receivers/syslog-ng");
    let program = folder.join("usr/sbin/syslog-ng");
    if !program.exists() {
        vigie_skip::skipped("there is no syslog-ng; sensor/forward/tests/receivers/install unpacks one");
        return None;
    }
    let mut command = Command::new(program);
    let libraries = ["usr/lib/syslog-ng", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|library| folder.join(library).display().to_string());
    command.env("LD_LIBRARY_PATH", libraries.join(":"));
    command.arg("--module-path").arg(folder.join("usr/lib/syslog-ng/3.38"));
    Some(command)
}

fn syslog_ng(mut command: Command, place: &Place, source: &str) -> Running {
    let got = place.path("got");
    let config = format!(
        "@version: 3.38\noptions {{ stats-freq(0); }};\nsource s {{ {source} }};\n\
         destination d {{ file(\"{}\" template(\"$HOST $PROGRAM $MSGID $MSG\\n\")); }};\nlog {{ source(s); destination(d); }};\n",
        got.display()
    );
    fs::write(place.path("syslog-ng.conf"), config).unwrap();
    command.args(["-F", "--no-caps", "-f"]).arg(place.path("syslog-ng.conf"));
    for (option, name) in [("-R", "ng.persist"), ("-p", "ng.pid"), ("-c", "ng.ctl")] {
        command.arg(option).arg(place.path(name));
    }
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn syslog(server: &str, transport: &str, more: &str) -> String {
    format!(
        "[[receiver]]\nname = \"soc\"\nkind = \"syslog\"\nserver = \"{server}\"\ntransport = \"{transport}\"\n{more}"
    )
}

fn imtcp(port: u16, tls: &str) -> String {
    format!("module(load=\"imtcp\" {tls})\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"all\")")
}

#[test]
fn rsyslog_gets_every_message_over_tcp() {
    if !has("rsyslogd", "rsyslog") {
        return;
    }
    let place = Place::new();
    let port = free_port();
    let _server = rsyslog(&place, &imtcp(port, ""));
    common::until_listens(port);
    place.append(0..3_000);
    place.configure(&syslog(&format!("127.0.0.1:{port}"), "tcp", ""));
    assert!(place.once().status.success());
    let found = until_all(&place.path("got"), 3_000);
    assert!(found.into_iter().eq(0..3_000));
    let text = fs::read_to_string(place.path("got")).unwrap();
    assert!(text.starts_with("tap vigie incident {\"timestamp\""), "{text:.200}");
}

#[test]
fn syslog_ng_gets_every_message_over_tcp_and_udp() {
    let Some(program) = syslog_ng_program() else { return };
    let place = Place::new();
    let (tcp, udp) = (free_port(), free_port());
    let source = format!(
        "syslog(ip(127.0.0.1) port({tcp}) transport(\"tcp\")); syslog(ip(127.0.0.1) port({udp}) transport(\"udp\"));"
    );
    let _server = syslog_ng(program, &place, &source);
    common::until_listens(tcp);
    place.append(0..1_000);
    place.configure(&syslog(&format!("127.0.0.1:{tcp}"), "tcp", "structured_data_id = \"vigie@32473\"\n"));
    assert!(place.once().status.success());
    until_all(&place.path("got"), 1_000);
    // Few, since a server that is slow loses datagrams.
    fs::remove_file(place.path("state/soc.cursor.json")).unwrap();
    fs::remove_file(place.path("journal/00000001.jsonl")).unwrap();
    place.append(1_000..1_050);
    place.configure(&syslog(&format!("127.0.0.1:{udp}"), "udp", ""));
    assert!(place.once().status.success());
    until_all(&place.path("got"), 1_050);
}

#[test]
fn rsyslog_gets_messages_over_udp() {
    if !has("rsyslogd", "rsyslog") {
        return;
    }
    let place = Place::new();
    let (udp, tcp) = (free_port(), free_port());
    let udp_input =
        format!("module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\" ruleset=\"all\")\n");
    let _server = rsyslog(&place, &(udp_input + &imtcp(tcp, "")));
    common::until_listens(tcp);
    place.append(0..50);
    place.configure(&syslog(&format!("127.0.0.1:{udp}"), "udp", ""));
    assert!(place.once().status.success());
    until_all(&place.path("got"), 50);
}

#[test]
fn tls_is_verified_on_both_sides() {
    if !has("rsyslogd", "rsyslog") {
        return;
    }
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    if !["/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so", "/usr/lib/aarch64-linux-gnu/rsyslog/lmnsd_ossl.so"]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
    {
        vigie_skip::skipped("rsyslog has no TLS; install the package rsyslog-openssl");
        return;
    }
    authority.sign("client", "DNS:client.example", true);
    place.append(0..500);
    let driver = "streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\"";
    let ca = format!("ca_file = {:?}\n", place.path("ca.pem"));
    let client =
        format!("certificate_file = {:?}\nkey_file = {:?}\n", place.path("client.pem"), place.path("client.key"));
    for (names, is_valid, keys, expected) in [
        ("IP:127.0.0.1", false, format!("{ca}{client}"), "has expired, at 2021-01-01T00:00:00Z"),
        (
            "DNS:other.example",
            true,
            format!("{ca}{client}"),
            "not for 127.0.0.1; correct the host, or give the right name as server_name",
        ),
        ("IP:127.0.0.1", true, client.clone(), "is signed by an authority that is not known here"),
        ("DNS:other.example", true, format!("{ca}{client}server_name = \"other.example\"\n"), ""),
    ] {
        authority.sign("server", names, is_valid);
        let port = free_port();
        let server = rsyslog(&place, &imtcp(port, driver));
        common::until_listens(port);
        place.configure(&syslog(&format!("127.0.0.1:{port}"), "tls", &keys));
        let output = place.once();
        let told = String::from_utf8(output.stderr).unwrap();
        if expected.is_empty() {
            assert!(output.status.success(), "{told}");
            until_all(&place.path("got"), 500);
        } else {
            assert!(told.contains(expected), "{names} {is_valid}: {told}");
            assert_eq!(output.status.code(), Some(69));
        }
        server.kill();
    }
}

#[test]
fn a_server_that_refuses_our_certificate_is_told() {
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    authority.sign("server", "IP:127.0.0.1", true);
    let port = free_port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", &port.to_string(), "-cert", "server.pem", "-key", "server.key"]);
    server.args(["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]).current_dir(place.folder.path());
    let _server = Running(server.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::piped()).spawn().unwrap());
    common::until_listens(port);
    place.append(0..3);
    // A certificate that the authority did not sign.
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout c.key -out c.pem"
                .split(' '),
        )
        .current_dir(place.folder.path())
        .output();
    assert!(made.unwrap().status.success());
    let keys = format!(
        "ca_file = {:?}\ncertificate_file = {:?}\nkey_file = {:?}\n",
        place.path("ca.pem"),
        place.path("c.pem"),
        place.path("c.key")
    );
    place.configure(&syslog(&format!("127.0.0.1:{port}"), "tls", &keys));
    let told = String::from_utf8(place.once().stderr).unwrap();
    assert!(told.contains("refuses our certificate"), "{told}");
}

#[test]
fn the_last_lines_are_sent_again_when_the_server_breaks_off_in_mid_message() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    place.append(0..50);
    place.configure(&syslog(&format!("127.0.0.1:{port}"), "tcp", "resend_lines = 20\n"));
    let running = place.start();
    let (mut first, _) = listener.accept().unwrap();
    // The kernel takes all, the server reads half a message and dies.
    let state = place.path("state/soc.cursor.json");
    until("saved cursor", || fs::read_to_string(&state).ok()?.contains("\"offset\":1").then_some(()));
    let mut half = [0; 100];
    first.read_exact(&mut half).unwrap();
    drop(first);
    place.append(50..60);
    let (mut second, _) = listener.accept().unwrap();
    second.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut got = Vec::new();
    let found = until("events again", || {
        let mut chunk = [0; 65_536];
        if let Ok(count) = second.read(&mut chunk) {
            got.extend_from_slice(&chunk[..count]);
        }
        let found = numbers(&String::from_utf8_lossy(&got));
        found.contains(&59).then_some(found)
    });
    assert!(found.iter().copied().eq(0..60), "{found:?}");
    // Octet counting (RFC 6587): a length, a space, a message.
    let mut rest = String::from_utf8(got).unwrap();
    for number in 0..59 {
        let (length, after) = rest.split_once(' ').unwrap();
        let (message, next) = after.split_at(length.parse().unwrap());
        let expected =
            format!("<132>1 2026-11-27T18:58:14.000000+00:00 tap vigie - incident - {}", common::line(number));
        assert_eq!(message, expected);
        rest = next.to_owned();
    }
    running.end();
    assert!(place.log().contains("closed the connection") || place.log().contains("reset"), "{}", place.log());
}

#[test]
fn a_server_that_stops_reading_gets_everything_when_it_goes_on() {
    if !has("rsyslogd", "rsyslog") {
        return;
    }
    let place = Place::new();
    let port = free_port();
    let server = rsyslog(&place, &imtcp(port, ""));
    common::until_listens(port);
    place.configure(&syslog(&format!("127.0.0.1:{port}"), "tcp", ""));
    let running = place.start();
    place.append(0..100);
    until_all(&place.path("got"), 100);
    server.signal("STOP");
    // More than the buffers of both kernels hold.
    place.append(100..40_000);
    std::thread::sleep(Duration::from_secs(2));
    let state = fs::read_to_string(place.path("state/soc.cursor.json")).unwrap();
    let size = fs::metadata(place.path("journal/00000001.jsonl")).unwrap().len();
    assert!(!state.contains(&format!("\"offset\":{size}")), "{state}");
    server.signal("CONT");
    let found = until_all(&place.path("got"), 40_000);
    assert!(found.into_iter().eq(0..40_000));
    let took = running.end();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
