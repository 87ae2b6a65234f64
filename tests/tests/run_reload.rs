//! The running sensor with a configuration that is named without a folder: it is read again from the folder where the
//! sensor was started, also after privileges were given up. Without the rights for a network the test says so and passes.

use std::fs::{self, File};
use std::process::Stdio;

use vigie_tests::daemon::{Folder, PATIENCE, Running, binary, until};
use vigie_tests::network::Namespace;

#[test]
fn a_configuration_named_without_a_folder_is_read_again() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let configuration = |level: &str| {
        let events = folder.text_path("eve.json");
        folder.write(
            "live.toml",
            &format!(
                "[capture]\ninterfaces = [\"tap0\"]\n[events]\nfile = \"{events}\"\n[metrics]\nlisten = \"\"\n\
                 [privilege]\nuser = \"nobody\"\n[log]\nlevel = \"{level}\"\n"
            ),
        );
    };
    configuration("info");
    let log = folder.path("log");
    let mut command = namespace.command(&binary().to_string_lossy());
    command.args(["run", "-c", "live.toml"]).current_dir(folder.path(""));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VIGIE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let sensor = Running(command.spawn().expect("ip runs"));
    let says = |what: &str| {
        until(what, PATIENCE, || {
            let said = fs::read_to_string(&log).unwrap();
            assert!(!said.contains("not reloaded"), "{said}");
            said.contains(what).then_some(())
        });
    };
    says("running: ");
    configuration("debug");
    namespace.run(&format!("kill -HUP {}", sensor.0.id()));
    says("changed: log.level");
}
