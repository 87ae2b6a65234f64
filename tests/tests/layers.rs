//! The order of the modules of the crate `vigie`: each uses only those above it in `sensor/src/lib.rs`. The order of the
//! crates needs no test; each `Cargo.toml` lists what its crate may use.

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sensor/src")
}

/// The modules of the library, in order.
fn modules() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file uses by `crate::`, each with the line. Skips comments and unit tests.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (place, line) in text.lines().enumerate() {
        // Unit tests are last in a file.
        if line == "#[cfg(test)]" && text.lines().nth(place + 1).is_some_and(|next| next.starts_with("mod tests {")) {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for after in code.split("crate::").skip(1) {
            // `use crate::{a, b::c};` uses several modules.
            let list = after.strip_prefix('{').map_or(after, |list| list.split('}').next().unwrap_or(list));
            let heads = if after.starts_with('{') { list.split(',').collect() } else { vec![list] };
            for head in heads {
                let name: String = head.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                used.push((place + 1, name));
            }
        }
    }
    used
}

/// The uses in a file of `module` that are not of a module above it, each with the line.
fn wrong_uses(modules: &[String], module: &str, text: &str) -> Vec<(usize, String)> {
    let rank = |name: &str| modules.iter().position(|module| module == name);
    let own = rank(module);
    used(text).into_iter().filter(|(_, name)| rank(name).is_none_or(|used| Some(used) > own)).collect()
}

#[test]
fn each_module_uses_only_those_above_it() {
    let modules = modules();
    assert_eq!(modules.first().map(String::as_str), Some("text"));
    assert_eq!(modules.last().map(String::as_str), Some("cli"));
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let (mut uses, mut wrong) = (0, Vec::new());
    for path in paths {
        let place = path.strip_prefix(source()).unwrap();
        let first = place.iter().next().unwrap().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        if ["lib", "main"].contains(&module) || path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        assert!(modules.iter().any(|known| known == module), "{module} is not in lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        uses += used(&text).len();
        let found = wrong_uses(&modules, module, &text);
        wrong.extend(found.into_iter().map(|(line, name)| format!("{}:{line} uses {name}", place.display())));
    }
    assert!(uses > 50, "{uses} uses: are they still found?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_use_of_a_later_module_is_found() {
    let modules = ["wire", "decode", "flow"].map(str::to_owned);
    let wrong = |text: &str| wrong_uses(&modules, "decode", text).len();
    assert_eq!(wrong("use crate::wire::Cursor;\nuse crate::decode::Packet; // crate::flow"), 0);
    assert_eq!(wrong("use crate::flow::FlowKey;"), 1);
    assert_eq!(wrong("pub(crate) use crate::{wire::Cursor, flow};\nlet a = crate::nowhere::b();"), 2);
    assert_eq!(wrong("#[cfg(test)]\nmod tests {\n    use crate::flow::FlowKey;"), 0);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The paths in a text: words in backticks that begin with a folder of the repository, or are a file at its top. Each with
/// whether it is said to be planned.
fn paths(text: &str) -> Vec<(&str, bool)> {
    let words = text.split('`').skip(1).step_by(2).zip(text.split('`').skip(2).step_by(2));
    let is_path = |word: &str| {
        let known = ["sensor/", "signatures/", "tests/", "benches/", ".ci/"];
        let is_top_file = repository().join(word).is_file();
        !word.contains(' ') && (known.iter().any(|folder| word.starts_with(folder)) || is_top_file)
    };
    words.filter(|(word, _)| is_path(word)).map(|(word, after)| (word, after.starts_with(" (planned)"))).collect()
}

#[test]
fn the_map_names_every_crate_and_only_paths_that_exist() {
    let map = fs::read_to_string(repository().join("sensor/README.md")).unwrap();
    let found = paths(&map);
    assert!(found.len() > 60, "{} paths: are they still found?", found.len());
    for (path, is_planned) in found {
        assert_eq!(repository().join(path).exists(), !is_planned, "sensor/README.md: {path}, planned: {is_planned}");
    }
    let mut listed: Vec<&str> = map.lines().filter_map(|line| line.split_once("/  ")).map(|(name, _)| name).collect();
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let crates = manifest.lines().filter_map(|line| line.trim().strip_prefix("\"sensor/")?.strip_suffix("\","));
    let mut crates: Vec<&str> = crates.collect();
    listed.sort_unstable();
    crates.sort_unstable();
    assert_eq!(listed, crates, "sensor/README.md lists the crates of Cargo.toml");
}

#[test]
fn paths_are_told_from_other_words() {
    let text = "`sensor/src/lib.rs`, `sensor/no.rs` (planned), `Target` and `cargo test sensor/src`; `README.md`.";
    assert_eq!(paths(text), [("sensor/src/lib.rs", false), ("sensor/no.rs", true), ("README.md", false)]);
}
