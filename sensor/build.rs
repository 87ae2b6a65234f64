//! Says which version this is: the package's, and in a release build from a checkout the commit, with `-dirty` if
//! sources were changed since. Other builds leave the commit out, so that a commit does not rebuild them.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { commit() } else { None };
    let version = commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    // Not VIGIE_…: cargo sets it for programs that it runs too, and these names are settings.
    println!("cargo::rustc-env=BUILD_VERSION={version}");
}

/// The commit of the checkout; `None` where there is none, as in an unpacked archive.
fn commit() -> Option<String> {
    // A checkout of something else that contains this folder is none of ours.
    let prefix = git(&["rev-parse", "--show-prefix"])?;
    if prefix != "sensor/" {
        return None;
    }
    for source in ["logs/HEAD", "index"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", source])?);
    }
    let sources = [".", "../signatures", "../Cargo.toml", "../Cargo.lock"];
    for source in sources {
        println!("cargo::rerun-if-changed={source}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &sources[..]].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-dirty") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}
