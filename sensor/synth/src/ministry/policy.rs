//! The configuration to judge the day by: a ban, the scopes of the people, and the register of derogations.

use std::fmt::Write;

use super::Ministry;

/// First line of each file: so a later day may replace it, and no file of anybody else.
pub const MARK: &str = "# Written by vigie synth";

/// The people's scopes.
const SCOPES: &str = r#"
[[scope]]
name = "offices"
kind = "official"
prefixes = ["10.16.0.0/12", "2001:db8:20::/48"]

[[scope]]
name = "guests"
kind = "guest"
vlans = [90]
prefixes = ["10.96.0.0/12", "2001:db8:90::/48"]
"#;

impl Ministry {
    /// The policy to judge by, with a register named `derogations.toml` beside it.
    pub fn policy(&self) -> String {
        let services = self.services();
        format!(
            "{MARK}: the policy to judge the ministry's day by.\n\n[policy]\nderogations = \
             \"derogations.toml\"\n\n[[ban]]\nuse = \"fr\"\nsite_visits = true\nservices = {services:?}\n{SCOPES}"
        )
    }

    /// The register of derogations.
    pub fn derogations(&self) -> String {
        let services = self.services();
        let mut text = format!("{MARK}: devices under a derogation on the ministry's day.\n");
        for (place, person) in self.people.excused().iter().enumerate() {
            let (number, client) = (place + 1, self.people.address(*person));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[derogation]]\nid = \"2026-{number:05}\"\nwho = [\"{client}\"]\nservices = {services:?}\nfrom = \
                 \"2026-11-01\"\nuntil = \"2026-12-31\"\nadded = \"2026-10-15\"\nreason = \"institutional account\"\n\
                 approver = \"secretary-general\"\nreference = \"SG-{number}\"\n"
            );
        }
        text
    }

    /// The services that anybody uses on the day.
    fn services(&self) -> Vec<&str> {
        let mut services: Vec<&str> = self.catalogue.services().chain(self.given.services()).collect();
        services.sort_unstable();
        services.dedup();
        services
    }
}
