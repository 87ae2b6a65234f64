//! The words of ban files.

use crate::words::words;

words! {
    /// How binding a ban is.
    BanForm {
        /// It forbids.
        Ban = "ban",
        /// Its authority blocks access: a contact says that the block fails.
        Block = "block",
        /// Obliged bodies must react.
        Warning = "warning",
        /// It advises.
        Recommendation = "recommendation",
        /// Something else is to be used.
        Replacement = "replacement",
        /// No ban: an operator looks.
        Watch = "watch",
    }
}

words! {
    /// What a ban forbids.
    Forbids {
        /// To have the app.
        Install = "install",
        /// To use app or site.
        Use = "use",
        /// Any contact.
        Traffic = "traffic",
    }
}

words! {
    /// Devices that a ban covers.
    ScopeWord {
        /// Owned, issued or paid by the body.
        Official = "official",
        /// With access to internal networks, whoever owns them.
        Connected = "connected",
        /// Enrolled in the body's device management, whoever owns them.
        Enrolled = "enrolled",
        /// In zones that the operator marks as sensitive.
        Sensitive = "sensitive",
        /// Of contractors, used under a contract.
        Contractor = "contractor",
    }
}

words! {
    /// Whether a ban covers personal devices.
    Personal {
        /// Not covered.
        No = "no",
        /// Not covered, but advised.
        Advised = "advised",
        /// Covered when enrolled.
        Enrolled = "enrolled",
        /// Covered when they reach internal networks or systems.
        Connecting = "connecting",
    }
}

words! {
    /// How exactly the first day in force is known.
    Precision {
        /// To the day.
        Day = "day",
        /// To the month, of which the last day is given.
        Month = "month",
    }
}
