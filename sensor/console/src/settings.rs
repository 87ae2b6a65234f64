//! The settings of the console.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use vigie_config::{Machine, Program, Review, Rule, Schema, absolute_path, account_name, choices, printable, settings};
use vigie_privilege::{Demand, LANDLOCK_DEFAULT, SECCOMP_DEFAULT};

use crate::pivot::template;

/// The file that is read unless another is given.
pub const FILE_DEFAULT: &str = "/etc/vigie-console/console.toml";
/// Where pages are served if no socket is.
pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 19_844);

choices! {
    /// Whether the kernel has to confine the program.
    Confine {
        /// It does not start otherwise.
        Required = "required",
        /// As far as the kernel can.
        Preferred = "preferred",
        /// Not at all.
        Off = "off",
    }
}

impl Confine {
    /// What the sandbox calls it.
    pub const fn demand(self) -> Demand {
        match self {
            Self::Required => Demand::Required,
            Self::Preferred => Demand::Preferred,
            Self::Off => Demand::Off,
        }
    }

    const fn of(demand: Demand) -> Self {
        match demand {
            Demand::Required => Self::Required,
            Demand::Preferred => Self::Preferred,
            Demand::Off => Self::Off,
        }
    }
}

settings! {
    /// The settings of the program.
    Settings;

    /// The journals.
    journal: JournalSettings {
        /// The folder of the sensor's journal, which is read.
        folder: PathBuf = "/var/lib/vigie/journal".into(), Rule::Text("an absolute path", absolute_path), Restart;
    }

    /// What else there is on this machine that pages show. The user of the console has to be able to read it.
    sensor: SensorFiles {
        /// The register of derogations, as policy.derogations of the sensor; empty: pages show what the audit in the journal tells.
        derogations: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// The folder of vigie-forward's cursors, such as /var/lib/vigie-forward; its group may read them.
        forwarder_folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// The folder of names that may be missing in the signatures, as judgement.candidates_folder of the sensor.
        candidates_folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
    }

    /// What the program keeps on the disk: its tables, which can be made anew; its own journal of decisions, notes and who looked;
    /// and the key of the pseudonyms that viewers see.
    state: State {
        /// The folder, which only this program writes.
        folder: PathBuf = "/var/lib/vigie-console".into(), Rule::Text("an absolute path", absolute_path), Restart;
        /// Days after which incidents are removed from the tables, and decisions from the own journal.
        incidents_days: u32 = 180, Rule::Range(1, 365), Restart;
        /// Days after which flows are removed from the tables.
        alerts_days: u32 = 30, Rule::Range(1, 365), Restart;
        /// Flows of one incident that are kept in the tables; the journal has all.
        evidence_per_incident_max: u32 = 1_000, Rule::Range(1, 100_000), Restart;
    }

    /// Where pages are served.
    server: ServerSettings {
        /// A Unix socket, for a proxy in front; empty: the address below. A socket that systemd passes goes before both.
        socket: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// Address and port on this machine's loopback.
        listen: SocketAddr = ADDRESS_DEFAULT, Rule::Any, Restart;
        /// Host names by which browsers ask for the console, without port; on loopback its own names are known.
        hosts: Vec<String> = Vec::new(), Rule::Text("a host name", printable), Restart;
        /// Connections at once; for a further one, one that waits for a request is closed.
        connections_max: usize = 1_024, Rule::Range(1, 65_536), Restart;
        /// Seconds in which a request has to arrive.
        header_timeout_s: u64 = 10, Rule::Range(1, 600), Restart;
        /// Seconds in which a request has to be answered.
        request_timeout_s: u64 = 30, Rule::Range(1, 600), Restart;
        /// Seconds after which a connection is closed.
        connection_age_s_max: u64 = 300, Rule::Range(1, 86_400), Restart;
    }

    /// Who may look, and who may decide.
    access: AccessSettings {
        /// File of users and bcrypt hashes of their passwords (basic_auth_users), in the format of Prometheus' exporters. With
        /// tls_server_config, the console speaks TLS on its loopback address; with client_ca_file, people are known by their
        /// certificates: by the mail addresses in them, or the common name where there are none. It is read again when it changes.
        users_file: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// Names of certificates that may look. Everybody with a password, and everybody whom the proxy names, may look anyway.
        viewers: Vec<String> = Vec::new(), Rule::Text("a user name", printable), Restart;
        /// Users who see devices, write notes and decide.
        analysts: Vec<String> = Vec::new(), Rule::Text("a user name", printable), Restart;
        /// Users who are data protection officers.
        dpos: Vec<String> = Vec::new(), Rule::Text("a user name", printable), Restart;
        /// Header in which a proxy on the socket names the user it has checked; empty: passwords.
        proxy_user_header: String = String::new(), Rule::Text("the name of a header", printable), Restart;
        /// User ids that the proxy may run as; empty: whoever the permissions of the socket let connect. The unit that comes with the
        /// program hides user ids (PrivateUsers=yes), so there it is the group of the socket that decides.
        proxy_uids: Vec<u32> = Vec::new(), Rule::Any, Restart;
        /// Minutes without a request after which a session ends.
        session_idle_minutes: u64 = 60, Rule::Range(1, 1_440), Restart;
        /// Hours after which a session ends.
        session_hours_max: u64 = 12, Rule::Range(1, 168), Restart;
    }

    /// Links into other tools, such as Arkime, Stenographer or a SIEM; analysts and data protection officers see them.
    links: LinkSettings {
        /// A name and an address each, such as "Arkime https://arkime.example/sessions?expression=communityId%3D%3D%22{community_id}%22".
        /// Of a flow there are {community_id}, {client_port}, {server}, {server_port}, {proto} and {name}; of every incident {incident},
        /// {service} and {client}; and times: {from}, {until} (UTC), {from_s}, {until_s}, {from_ms} and {until_ms} (since 1970).
        /// Values are percent-encoded.
        templates: Vec<String> = Vec::new(), Rule::Text("a name and an address", template), Restart;
        /// Seconds before the first contact and after the last one that {from} and {until} include.
        margin_s: u64 = 300, Rule::Range(0, 86_400), Restart;
    }

    /// How times are shown.
    display: Display {
        /// Time zone, such as Europe/Paris; empty: that of the system.
        time_zone: String = String::new(), Rule::Text("a time zone", printable), Restart;
    }

    /// What the program gives up once it has started.
    privileges: Privileges {
        /// The user to change to, if started by root.
        user: Option<String> = None, Rule::Text("a user name", account_name), Restart;
        /// Landlock: its own files only, and no connection.
        landlock: Confine = Confine::of(LANDLOCK_DEFAULT), Rule::Any, Restart;
        /// Seccomp: the system calls that it needs.
        seccomp: Confine = Confine::of(SECCOMP_DEFAULT), Rule::Any, Restart;
    }
}

impl Schema for Settings {
    const PROGRAM: Program = Program {
        name: "vigie-console",
        file_default: FILE_DEFAULT,
        variable_prefix: "VIGIE_CONSOLE",
        variable_aliases: &[],
        other_variables: &["VIGIE_CONSOLE_CONFIG"],
        example: ("server.connections_max", "256"),
    };

    fn resolve(&mut self, _: &Machine) {}

    fn check(review: &mut Review<'_, Self>) {
        let (server, access) = (&review.settings.server, &review.settings.access);
        if !server.listen.ip().is_loopback() {
            let mend = "give 127.0.0.1 or [::1], and put a proxy in front";
            review.refuse(&["server.listen"], "the console listens on loopback only", mend);
        }
        let has_header = !access.proxy_user_header.is_empty();
        if !has_header && !access.proxy_uids.is_empty() {
            let mend = "give the header in which the proxy names the user, such as X-Remote-User";
            review.refuse(&["access.proxy_uids", "access.proxy_user_header"], "the proxy names no user", mend);
        }
        if has_header && access.users_file.is_some() {
            let keys = ["access.proxy_user_header", "access.users_file"];
            review.refuse(&keys, "people are known by the proxy or by passwords, not by both", "keep one of the two");
        }
        if !has_header && access.users_file.is_none() {
            let mend = "give a file with basic_auth_users or client_ca_file, or proxy_user_header";
            review.refuse(&["access.users_file"], "nobody could sign in", mend);
        }
        let state = &review.settings.state;
        if state.alerts_days > state.incidents_days {
            let keys = ["state.alerts_days", "state.incidents_days"];
            review.refuse(&keys, "flows would be kept longer than their incidents", "swap the two");
        }
    }
}
