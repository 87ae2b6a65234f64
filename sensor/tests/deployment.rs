//! What is deployed with the sensor fits it: the default file, the package's list of files, the scripts, the port.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use vigie::settings::{Settings, default_file};
use vigie::telemetry::ADDRESS_DEFAULT;

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn deployed(name: &str) -> String {
    fs::read_to_string(package().join("deploy").join(name)).unwrap()
}

#[test]
fn the_default_file_is_what_is_generated() {
    // To mend: vigie generate config > sensor/deploy/vigie.toml
    assert_eq!(deployed("vigie.toml"), default_file());
}

/// What the package's post-installation script says of a configuration that it finds.
fn names_an_interface(text: &str) -> bool {
    let script = deployed("debian/postinst");
    let begin = script.find("interface_configured() {").unwrap();
    let end = begin + script[begin..].find("\n}\n").unwrap() + 3;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vigie.toml");
    fs::write(&file, text).unwrap();
    let function = script[begin..end].replace("/etc/vigie/vigie.toml", file.to_str().unwrap());
    assert!(function.contains(file.to_str().unwrap()));
    Command::new("sh").args(["-c", &format!("{function}interface_configured")]).status().unwrap().success()
}

#[test]
fn the_package_starts_the_sensor_where_an_interface_is_named() {
    let default = default_file();
    let set = |line: &str| {
        assert!(default.contains("\n#interfaces = []\n"));
        default.replace("\n#interfaces = []\n", &format!("\n{line}\n"))
    };
    assert!(!names_an_interface(&default));
    for line in ["interfaces = []", "#interfaces = [\"eth1\"]", "interfaces = [ # \"eth1\"\n]"] {
        assert!(!names_an_interface(&set(line)), "{line}");
    }
    for line in ["interfaces = [\"eth1\"]", "  interfaces=['eth1','eth2']", "interfaces = [\n  # a leg\n  \"eth1\",\n]"]
    {
        assert!(names_an_interface(&set(line)), "{line}");
    }
    assert!(names_an_interface("capture.interfaces = [\"eth1\"]\n"));
}

#[test]
fn every_file_of_the_package_is_there() {
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let listed: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[\"")?.split_once("\", \""))
        .map(|(source, _)| source)
        .collect();
    assert!(listed.len() > 10, "{listed:?}");
    let script = deployed("build-deb");
    for source in listed {
        match source.strip_prefix("../target/deploy/") {
            // What the build makes: the script has the name of its folder or file.
            Some(made) => {
                let name = made.split_once("/*").map_or(made, |(folder, _)| folder);
                assert!(script.contains(&format!("$made/{name}\"")), "{source}");
            }
            None => assert!(source.starts_with("target/release/") || package().join(source).exists(), "{source}"),
        }
    }
}

/// A package made without them would install and not start, or lack its licences.
#[test]
fn no_package_is_built_without_the_programs_that_it_takes() {
    let remedies = [
        ("cargo-deb", "cargo install cargo-deb --locked"),
        ("cargo-about", "cargo install cargo-about --locked --features cli"),
        ("dpkg-shlibdeps", "apt install dpkg-dev"),
    ];
    for lacking in [&remedies[..], &remedies[..1], &remedies[1..2], &remedies[2..]] {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("dirname", "#!/bin/sh\necho \"${1%/*}\"\n");
        program("cargo", "#!/bin/sh\necho 'cargo runs' >&2\nexit 99\n");
        for (name, _) in remedies.iter().filter(|remedy| !lacking.contains(remedy)) {
            program(name, "#!/bin/sh\n");
        }
        let script = package().join("deploy/build-deb");
        let output = Command::new(script).env("PATH", folder.path()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let expected: String =
            lacking.iter().map(|(name, remedy)| format!("build-deb: {name} is not installed; {remedy}\n")).collect();
        assert_eq!((output.status.code(), errors), (Some(69), expected));
    }
}

#[test]
fn scripts_are_shell() {
    let posix = [
        "build-deb",
        "libexec/tune-nic",
        "debian/postinst",
        "debian/prerm",
        "debian/postrm",
        "debian-forward/postinst",
        "debian-forward/prerm",
        "debian-forward/postrm",
    ];
    for (shell, script) in posix
        .map(|script| ("sh", script))
        .into_iter()
        .chain(["trial.bash", "try-install", "try-package"].map(|script| ("bash", script)))
    {
        let path = package().join("deploy").join(script);
        let checked = Command::new(shell).arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{script}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// A card that can be told everything: what `ethtool` of version 6 says of one by the driver i40e, and a line for each call of it.
const ETHTOOL: &str = r#"#!/bin/sh
echo "$*" >>"$CALLED"
case $1 in
--show-channels)
    printf 'Channel parameters for tap0:\nPre-set maximums:\nRX:\t\tn/a\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t64\n'
    printf 'Current hardware settings:\nRX:\t\tn/a\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t16\n' ;;
--show-rxfh)
    printf 'RX flow hash indirection table for tap0 with 16 RX ring(s):\n    0:      0     1     2     3\n'
    printf 'RSS hash key:\n00:11:22:33:44:55:66\nRSS hash function:\n    toeplitz: on\n    xor: off\n' ;;
--config-nfc)
    if [ "$4" = udp6 ]; then
        echo 'Cannot change RX network flow hashing options: Operation not supported' >&2
        exit 1
    fi ;;
esac
"#;
const INTERRUPTS: &str = "           CPU0       CPU1
 40:          0          0 PCI-MSIX-0000:3b:00.0   0-edge      i40e-0000:3b:00.0:misc
 41:          0          0 PCI-MSIX-0000:3b:00.0   1-edge      i40e-tap0-TxRx-0
 42:          0          0 PCI-MSIX-0000:3b:00.0   2-edge      i40e-tap0-TxRx-1
 43:          0          0 PCI-MSIX-0000:3b:00.0   3-edge      i40e-tap0-TxRx-2
 44:          0          0 PCI-MSIX-0000:3b:00.0   4-edge      i40e-tap0-TxRx-3
141:          0          0 PCI-MSIX-0000:5e:00.0   1-edge      i40e-other-TxRx-0
";

/// The folders of the system for such a card on the second NUMA node of a machine, in a namespace of mounts and interfaces.
const CARD: &str = "ip link add tap0 type veth peer name out0 && mount --bind net /sys/class/net && \
                    mount --bind interrupts /proc/interrupts && mount --bind irq /proc/irq && exec \"$TUNE\" tap0";

#[test]
fn a_card_gets_queues_and_interrupts_for_the_processors_near_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let device = path("net/tap0/device");
    fs::create_dir_all(device.join("msi_irqs")).unwrap();
    fs::write(device.join("numa_node"), "1\n").unwrap();
    fs::write(device.join("local_cpulist"), "2-3,6\n").unwrap();
    for number in 40..45 {
        fs::write(device.join(format!("msi_irqs/{number}")), "msix\n").unwrap();
        fs::create_dir_all(path(&format!("irq/{number}"))).unwrap();
    }
    fs::write(path("interrupts"), INTERRUPTS).unwrap();
    fs::create_dir(path("bin")).unwrap();
    fs::write(path("bin/ethtool"), ETHTOOL).unwrap();
    fs::set_permissions(path("bin/ethtool"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |script: &Path, queues: Option<&str>| {
        let _ = fs::remove_file(path("called"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", CARD]).current_dir(folder.path());
        command.env("PATH", format!("{}:{}", path("bin").display(), std::env::var("PATH").unwrap()));
        command.env("CALLED", path("called")).env("TUNE", script);
        queues.map(|queues| command.env("QUEUES", queues));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, errors) = run(Path::new("true"), None);
    if code != Some(0) {
        return vigie_skip::skipped(format_args!("no namespace of mounts and interfaces can be made: {errors}"));
    }
    let tune = |queues| run(&package().join("deploy/libexec/tune-nic"), queues);
    let (code, said, errors) = tune(None);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let called = fs::read_to_string(path("called")).unwrap();
    for expected in [
        "--set-channels tap0 combined 3\n",
        "--set-rxfh-indir tap0 equal 3 hkey 6d:5a:6d:5a:6d:5a:6d\n",
        "--config-nfc tap0 rx-flow-hash udp4 sd\n",
    ] {
        assert!(called.contains(expected), "{called}");
    }
    for expected in [
        "tap0: its processors are 2-3,6 (NUMA node 1)\n",
        "tap0: 3 receive queues, of at most 64\n",
        "tap0: not done: udp6 by addresses alone (Cannot change RX network flow hashing options: Operation not supported)\n",
        "tap0: interrupt 44 on processor 2\n",
        "tap0: up\n",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let processor = |number: u32| fs::read_to_string(path(&format!("irq/{number}/smp_affinity_list"))).ok();
    let processors: Vec<_> = (40..45).map(|number| processor(number).map(|cpu| cpu.trim().to_owned())).collect();
    assert_eq!(processors, [None, Some("2"), Some("3"), Some("6"), Some("2")].map(|cpu| cpu.map(str::to_owned)));

    tune(Some("100"));
    assert!(fs::read_to_string(path("called")).unwrap().contains("--set-channels tap0 combined 64\n"));
    let receiving_only = ETHTOOL.replace("RX:\\t\\tn/a", "RX:\\t\\t2").replace("Combined:\\t64", "Combined:\\tn/a");
    fs::write(path("bin/ethtool"), receiving_only).unwrap();
    tune(None);
    let called = fs::read_to_string(path("called")).unwrap();
    assert!(called.contains("--set-channels tap0 rx 2\n--show-rxfh tap0\n--set-rxfh-indir tap0 equal 2 "), "{called}");
    for wrong in ["many", "0", "-1", "99999999999999999999", "8  # of a card"] {
        let (code, _, errors) = tune(Some(wrong));
        assert!(code == Some(64) && errors.starts_with(&format!("tune-nic: QUEUES={wrong} is no number")), "{errors}");
    }
    // The example of the page is what systemd reads: it takes what stands behind a value for a part of it.
    let page = deployed("README.md");
    let values: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    QUEUES=")).collect();
    assert!(!values.is_empty() && values.iter().all(|value| value.parse::<u32>().is_ok()), "{values:?}");
}

#[test]
fn unit_and_pages_say_what_the_sensor_does() {
    assert_eq!(Settings::default().metrics.listen, Some(ADDRESS_DEFAULT));
    let port = ADDRESS_DEFAULT.port().to_string();
    let readme = fs::read_to_string(package().join("../README.md")).unwrap();
    for (name, page) in [("deploy/README.md", deployed("README.md")), ("README.md", readme)] {
        let addresses: Vec<&str> =
            page.match_indices("127.0.0.1:").map(|(at, host)| &page[at + host.len()..]).collect();
        assert!(!addresses.is_empty() && addresses.iter().all(|rest| rest.starts_with(&port)), "{name}");
    }
    let unit = deployed("systemd/vigie.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(setting("ExecStart="), "/usr/bin/vigie run --config /etc/vigie/vigie.toml");
    assert!(Path::new("/etc/vigie/vigie.toml") == Path::new(vigie::settings::FILE_DEFAULT));
    // The capability that packet and AF_XDP sockets need, and no other.
    let capabilities = ["AmbientCapabilities=", "CapabilityBoundingSet="].map(setting);
    assert_eq!(capabilities, ["CAP_NET_RAW"; 2]);
    let families: Vec<&str> = setting("RestrictAddressFamilies=").split(' ').collect();
    assert!(["AF_PACKET", "AF_XDP"].iter().all(|family| families.contains(family)), "{families:?}");
    // 64 workers on both legs of a tap, each with its spare sockets.
    let settings = Settings::default();
    let sockets = 64 * 2 * (1 + settings.capture.spare_sockets);
    assert!(setting("LimitNOFILE=").parse::<usize>().unwrap() > 2 * sockets);
}

#[test]
fn the_units_are_exposed_no_more_than_they_may_be() {
    for (unit, tenths) in [("vigie.service", 20), ("vigie-forward.service", 10)] {
        let path = package().join("deploy/systemd").join(unit);
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--no-pager", "--offline=yes", &format!("--threshold={tenths}")]).arg(path);
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => {
                vigie_skip::skipped(format_args!("'systemd-analyze' cannot be run; install systemd: {error}"))
            }
        }
    }
}

/// A folder that the forwarder's user may not enter is not made readable by a permission somewhere below.
#[test]
fn the_forwarder_sees_the_journal_and_nothing_else_of_the_sensor() {
    let unit = deployed("systemd/vigie-forward.service");
    let lines = ["TemporaryFileSystem=/var/lib/vigie:ro", "BindReadOnlyPaths=-/var/lib/vigie/journal"];
    assert!(lines.iter().all(|line| unit.lines().any(|found| found == *line)), "{unit}");
    let sysusers = deployed("sysusers.d/vigie-forward.conf");
    assert!(sysusers.contains("m vigie-forward vigie-journal") && !sysusers.contains("m vigie-forward vigie\n"));
}
