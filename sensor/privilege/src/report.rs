//! The report on privileges: a list of measures, each with its state and details.

use std::fmt;

/// The state of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Taken now, and confirmed by the kernel.
    Done,
    /// In force before; nothing was necessary.
    AlreadySo,
    /// Not in force, but possible here. Only [`probe`](super::probe) reports this.
    Available,
    /// Not possible here, and why.
    Unavailable(String),
    /// Turned off.
    Off,
}

/// One measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name: one word, the same at every start.
    pub name: &'static str,
    /// Its state.
    pub state: State,
    /// Details for people.
    pub detail: String,
}

/// All measures, in the order in which they are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One of each name.
    pub measures: Vec<Measure>,
}

impl Report {
    /// The measure of that name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    pub(super) fn push(&mut self, name: &'static str, state: State, detail: impl Into<String>) {
        self.measures.push(Measure { name, state, detail: detail.into() });
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::AlreadySo => "already so",
            Self::Available => "available",
            Self::Unavailable(_) => "unavailable",
            Self::Off => "off",
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.state)?;
        if let State::Unavailable(reason) = &self.state {
            write!(formatter, ": {reason}")?;
        }
        match self.detail.as_str() {
            "" => Ok(()),
            detail => write!(formatter, "; {detail}"),
        }
    }
}

impl fmt::Display for Report {
    /// A line for each measure.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.measures.iter().try_for_each(|measure| writeln!(formatter, "{measure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_a_line() {
        let mut report = Report::default();
        report.push("seccomp", State::Done, "99 system calls");
        report.push("landlock", State::Unavailable("not built into this kernel".to_owned()), "");
        assert_eq!(
            report.to_string(),
            "seccomp: done; 99 system calls\nlandlock: unavailable: not built into this kernel\n"
        );
        assert_eq!(report.measure("seccomp").map(|measure| &measure.state), Some(&State::Done));
        assert_eq!(report.measure("selinux"), None);
    }
}
