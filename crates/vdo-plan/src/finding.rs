//! What a user can fix: found by checks, shown as conditions.

use vdo_api::Reason;

/// The next step where something could not be read: mostly a right is missing, and else it is tried again.
pub const ROLES: &str = "see whether the roles of the chart are there; it is tried again";

/// The verbs that a next step begins with.
const VERBS: &[&str] = &[
    "add", "choose", "correct", "create", "delete", "give", "install", "keep", "make", "mend", "name", "pin",
    "put", "remove", "rename", "restrict", "see", "set", "stop", "use", "wait",
];

/// The part of a message that tells its reader what to do, if it has one: each message ends in such a part, behind what
/// was seen. The tests of every crate that words findings ask for it.
pub fn next_step(message: &str) -> Option<&str> {
    let told = |part: &&str| VERBS.iter().any(|verb| part.split(' ').next() == Some(*verb));
    message.split("; ").skip(1).find(told)
}

/// What a finding does to the pass. The worst of all findings decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Goes on and says so.
    Advise,
    /// Keeps what is installed and repairs it; starts nothing new.
    Hold,
    /// Writes no object at all.
    HandsOff,
}

/// One thing that a user should know, with the object, the cause and the next step in its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it does to the pass.
    pub verdict: Verdict,
    /// The word for it.
    pub reason: &'static Reason,
    /// The object, the cause and the next step.
    pub message: String,
}

impl Finding {
    /// A finding that goes on.
    pub fn advise(reason: &'static Reason, message: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Advise, reason, message: message.into() }
    }

    /// A finding that holds changes back.
    pub fn hold(reason: &'static Reason, message: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Hold, reason, message: message.into() }
    }

    /// A finding that keeps our hands off every object.
    pub fn hands_off(reason: &'static Reason, message: impl Into<String>) -> Self {
        Finding { verdict: Verdict::HandsOff, reason, message: message.into() }
    }
}

/// The finding that decides: the worst, and the first of those.
pub fn worst(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().rev().max_by_key(|f| f.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_api::reason::{AS_WANTED, NOT_SEEN_YET};

    #[test]
    fn a_next_step_is_told_apart_from_what_was_seen() {
        assert_eq!(next_step("CSI waits for CPI; see CPIReady"), Some("see CPIReady"));
        assert_eq!(next_step("it is closed; it stays; set x, or y"), Some("set x, or y"));
        for none in
            ["CSI waits", "see CPIReady", "it is closed; are its pods running?", "closed; seen by nobody"]
        {
            assert_eq!(next_step(none), None, "{none}");
        }
    }

    #[test]
    fn the_first_of_the_worst_findings_decides() {
        let findings = [
            Finding::advise(&AS_WANTED, "a"),
            Finding::hold(&NOT_SEEN_YET, "b"),
            Finding::hold(&AS_WANTED, "c"),
        ];
        assert_eq!(worst(&findings).unwrap().message, "b");
    }
}
