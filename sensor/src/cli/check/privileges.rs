//! The confinement that this kernel and this process can give the sensor: Landlock, seccomp and more.

use super::requirements::Requirement;
use crate::settings::Settings;
use vigie_privilege::{Demand, Measure, Profile, Report, State};

/// Every measure of `report`; one that is required and unavailable is an error.
pub(super) fn all(settings: &Settings, report: &Report) -> Vec<Requirement> {
    let demand = |measure: &Measure| match measure.name {
        "landlock" => settings.privilege.landlock,
        "seccomp" => settings.privilege.seccomp,
        // The others may be unavailable to this shell and available to the service that systemd starts.
        _ => Demand::Preferred,
    };
    report.measures.iter().map(|measure| requirement(measure, demand(measure))).collect()
}

fn requirement(measure: &Measure, demand: Demand) -> Requirement {
    const PART: &str = "privilege";
    let name = measure.name;
    match (&measure.state, demand) {
        (_, Demand::Off) => Requirement::ok(PART, format!("{name}: turned off")),
        (State::Unavailable(reason), Demand::Required) => Requirement::unavailable(
            PART,
            format!("{name} is required, but {reason}"),
            format!("set privilege.{name} = \"preferred\" to run without it"),
        ),
        (State::Unavailable(_), Demand::Preferred) => Requirement::warning(PART, measure.to_string(), ""),
        _ => Requirement::ok(PART, measure.to_string()),
    }
}

/// Whether this process may open capture sockets.
pub(super) fn may_capture() -> bool {
    let lacks = |measure: &Measure| measure.name == "capture" && matches!(measure.state, State::Unavailable(_));
    !vigie_privilege::probe(&Profile::SENSOR).measures.iter().any(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use vigie_privilege::probe;

    #[test]
    fn required_measures_that_are_unavailable_are_errors() {
        let unavailable = State::Unavailable("this kernel has none".to_owned());
        let measure = |name, state| Measure { name, state, detail: "a fact".to_owned() };
        let measures = vec![
            measure("user", unavailable.clone()),
            measure("landlock", unavailable.clone()),
            measure("seccomp", unavailable),
            measure("core_files", State::Available),
        ];
        let report = Report { measures };
        let mut settings = Settings::default();
        let lines = |settings: &Settings| all(settings, &report).iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            "privilege: warning: user: unavailable: this kernel has none; a fact",
            "privilege: warning: landlock: unavailable: this kernel has none; a fact",
            "privilege: error: seccomp is required, but this kernel has none; set privilege.seccomp = \"preferred\" to \
             run without it",
            "privilege: core_files: available; a fact",
        ];
        assert_eq!(lines(&settings), expected);
        assert_eq!(all(&settings, &report)[2].exit(), Exit::Unavailable);
        settings.privilege.landlock = Demand::Required;
        settings.privilege.seccomp = Demand::Off;
        assert_eq!(all(&settings, &report)[1].exit(), Exit::Unavailable);
        assert_eq!(lines(&settings)[2], "privilege: seccomp: turned off");
    }

    #[test]
    fn every_measure_of_this_kernel_is_listed() {
        assert_eq!(all(&Settings::default(), &probe(&Profile::SENSOR)).len(), probe(&Profile::SENSOR).measures.len());
    }
}
