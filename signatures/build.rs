//! Lists the files of `services/`, so that adding one is all it takes to build it in.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=services");
    let directory = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("services");
    let mut paths = std::fs::read_dir(&directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut list = String::from("/// Label and text of each file built in.\nconst SERVICES: &[(&str, &str)] = &[\n");
    for path in &paths {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_name().ok_or("a file without a name")?.to_string_lossy();
        writeln!(list, "    ({:?}, include_str!({:?})),", format!("services/{name}"), path)?;
    }
    list.push_str("];\n");
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("services.rs"), list)?;
    Ok(())
}
