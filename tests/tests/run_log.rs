//! The log of the running sensor, when nobody reads it. Without the rights for a network the test says so and passes.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use vigie_tests::daemon::{Folder, PATIENCE, Running, binary, until};
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};

const BANNED: &str = "www.capcut.com";
/// What a pipe holds (pipe(7)).
const PIPE_BYTES: usize = 65_536;

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip link set lo up");
    let folder = Folder::new();
    // Full from the start on.
    let (unread, mut log) = std::io::pipe().unwrap();
    log.write_all(&vec![b'.'; PIPE_BYTES]).unwrap();
    let program = binary().to_string_lossy();
    let mut command = namespace.command(&program);
    command.args(["run", "-i", "tap0", "--workers", "2", "--config", "/dev/null", "--set", "privilege.user=nobody"]);
    command.args(["--set", "log.level=debug", "--events-file", &folder.text_path("eve.json")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut sensor = Running(command.spawn().expect("ip runs"));
    drop(command);

    let address = ([127, 0, 0, 1], 19_843).into();
    until("it serves metrics", PATIENCE, || {
        let text = namespace.inside(|| vigie_tests::daemon::get(address, "/metrics"));
        text.contains("vigie_capture_packets_total").then_some(())
    });
    let process = sensor.0.id().to_string();
    for number in 0..20 {
        let frames = known::says(number, BANNED);
        namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
        // A reload says what it did.
        namespace.run(&format!("kill -HUP {process}"));
        thread::sleep(Duration::from_millis(50));
    }
    until("all alerts", PATIENCE, || (folder.alerts_so_far().len() == 20).then_some(()));
    namespace.run(&format!("kill -TERM {process}"));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = sensor.0.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it does not stop");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    drop(unread);
}
