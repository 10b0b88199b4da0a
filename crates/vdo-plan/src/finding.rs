//! What a user can fix: found by checks, shown as conditions.

use vdo_api::Reason;

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
    fn the_first_of_the_worst_findings_decides() {
        let findings = [
            Finding::advise(&AS_WANTED, "a"),
            Finding::hold(&NOT_SEEN_YET, "b"),
            Finding::hold(&AS_WANTED, "c"),
        ];
        assert_eq!(worst(&findings).unwrap().message, "b");
    }
}
