//! Loading the signatures that a command uses.

use std::path::PathBuf;
use std::sync::Arc;

use vigie_signatures::{Bundle, Diagnostic, LoadOptions, Severity};

use super::exit::{Exit, Failure};
use super::terminal::eprint;

/// The built-in signatures, overridden by those of `folders`. `vigie signatures verify` shows warnings.
///
/// # Errors
/// The first error in the files.
pub fn load(folders: &[PathBuf]) -> Result<Arc<Bundle>, Failure> {
    if folders.is_empty() {
        return Ok(Bundle::builtin());
    }
    match Bundle::load(folders, LoadOptions::default()) {
        Ok((bundle, findings)) => {
            tell_of_old_words(&findings);
            tell_of_what_says_nothing(&findings);
            Ok(Arc::new(bundle))
        }
        Err(findings) => Err(refusal(&findings)),
    }
}

/// Tells of words that the next version refuses, once, whatever their number.
fn tell_of_old_words(findings: &[Diagnostic]) {
    let mut old = findings.iter().filter(|finding| finding.key == "signal");
    let Some(first) = old.next() else { return };
    let more = match old.count() {
        0 => String::new(),
        more => format!(" ({more} more: 'vigie signatures verify' lists them)"),
    };
    eprint(&format!("vigie: warning: {}: {}; {}{more}\n", place(first), first.message, first.mend));
}

/// Tells of folders without signatures and of services without rules.
fn tell_of_what_says_nothing(findings: &[Diagnostic]) {
    for finding in findings.iter().filter(|finding| matches!(finding.key.as_str(), "folder" | "service")) {
        eprint(&format!("vigie: warning: {}: {}; {}\n", place(finding), finding.message, finding.mend));
    }
}

fn refusal(findings: &[Diagnostic]) -> Failure {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    let Some(first) = errors().next() else {
        return Failure::new(Exit::Internal, "the signatures were refused without a reason", "please report it");
    };
    let mend = match errors().count() {
        1 => first.mend.clone(),
        count => format!("{} (first of {count} errors; 'vigie signatures verify' lists all)", first.mend),
    };
    Failure::new(Exit::Configuration, format!("{}: {}", place(first), first.message), mend)
}

/// File and line of a finding.
pub fn place(finding: &Diagnostic) -> String {
    match finding.line {
        0 => finding.file.clone(),
        line => format!("{}:{line}", finding.file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_signatures_are_refused_in_one_line() {
        assert!(!load(&[]).unwrap().is_empty());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), "nonsense = [\n").unwrap();
        let failure = load(&[folder.path().to_path_buf()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        let line = failure.to_string();
        assert!(line.starts_with("vigie: ") && line.contains("a.toml") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn many_errors_are_counted() {
        let finding = |line, severity| Diagnostic {
            file: "a.toml".to_owned(),
            line,
            key: "k".to_owned(),
            message: "wrong".to_owned(),
            mend: "right it".to_owned(),
            severity,
        };
        let findings = [finding(1, Severity::Warning), finding(0, Severity::Error), finding(9, Severity::Error)];
        let expected = "vigie: a.toml: wrong; right it (first of 2 errors; 'vigie signatures verify' lists all)";
        assert_eq!(refusal(&findings).to_string(), expected);
    }
}
