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
