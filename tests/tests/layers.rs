//! The order of the modules: each uses only those that stand before it in `sensor/src/lib.rs`.

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

/// The modules that a file names by `crate::`, with the line; comments and what is only for tests are passed over.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (place, line) in text.lines().enumerate() {
        // By convention tests stand last.
        if line == "#[cfg(test)]" && text.lines().nth(place + 1).is_some_and(|next| next.starts_with("mod tests {")) {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for after in code.split("crate::").skip(1) {
            // `use crate::{a, b::c};` names several.
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

/// The arrows of a file in `module` that point back, or to nowhere.
fn wrong_arrows(modules: &[String], module: &str, text: &str) -> Vec<(usize, String)> {
    let rank = |name: &str| modules.iter().position(|module| module == name);
    let own = rank(module);
    used(text).into_iter().filter(|(_, name)| rank(name).is_none_or(|used| Some(used) > own)).collect()
}

#[test]
fn no_module_uses_one_behind_it() {
    let modules = modules();
    assert_eq!(modules.first().map(String::as_str), Some("detect"));
    assert_eq!(modules.last().map(String::as_str), Some("cli"));
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let (mut arrows, mut wrong) = (0, Vec::new());
    for path in paths {
        let place = path.strip_prefix(source()).unwrap();
        let first = place.iter().next().unwrap().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        if ["lib", "main"].contains(&module) || path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        assert!(modules.iter().any(|known| known == module), "{module} is not in lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        arrows += used(&text).len();
        let found = wrong_arrows(&modules, module, &text);
        wrong.extend(found.into_iter().map(|(line, name)| format!("{}:{line} uses {name}", place.display())));
    }
    assert!(arrows > 50, "{arrows} arrows: are they still found?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `signatures` knows nothing of the sensor, and what tests share stands before both.
#[test]
fn signatures_know_nothing_of_the_sensor() {
    let mut paths = Vec::new();
    files(&source().join("../../signatures/src"), &mut paths);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("vigie::"), "{}", path.display());
    }
}

#[test]
fn an_arrow_back_is_found() {
    let modules = ["wire", "decode", "flow"].map(str::to_owned);
    let wrong = |text: &str| wrong_arrows(&modules, "decode", text).len();
    assert_eq!(wrong("use crate::wire::Cursor;\nuse crate::decode::Packet; // crate::flow"), 0);
    assert_eq!(wrong("use crate::flow::FlowKey;"), 1);
    assert_eq!(wrong("pub(crate) use crate::{wire::Cursor, flow};\nlet a = crate::nowhere::b();"), 2);
    assert_eq!(wrong("#[cfg(test)]\nmod tests {\n    use crate::flow::FlowKey;"), 0);
}
