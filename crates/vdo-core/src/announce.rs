//! Which changes of a verdict are worth an event and a line in the log, and how loud. Pure.

use vdo_api::condition::find;
use vdo_api::{Condition, Truth};
use vdo_runtime::events::Weight;

use crate::reasons;

/// The conditions that carry a verdict of their own.
const VERDICTS: [&str; 4] = ["Accepted", "CompatibilityResolved", "Trusted", "Ready"];

/// The verdicts that changed and that somebody may want to know.
pub fn news<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let told = |new: &&Condition| {
        let same =
            find(before, &new.type_).is_some_and(|old| old.status == new.status && old.reason == new.reason);
        // One that only waits for another has nothing to say: the other one has.
        let waits = new.reason == reasons::NOT_CHECKED_YET.name;
        // What goes well is said once, by Ready.
        let well = new.status == Truth::True && new.type_ != "Ready" && !is_grave(new);
        !same && !waits && !well
    };
    VERDICTS.iter().filter_map(|type_| find(after, type_)).filter(told).collect()
}

/// Whether somebody should look.
pub fn weight(verdict: &Condition) -> Weight {
    match verdict.status {
        Truth::False => Weight::Warning,
        Truth::True if is_grave(verdict) => Weight::Warning,
        Truth::True | Truth::Unknown => Weight::Normal,
    }
}

/// True, and still something to see to.
fn is_grave(verdict: &Condition) -> bool {
    let grave = [
        &reasons::INSECURE_BY_REQUEST,
        &reasons::CRDS_OUTDATED,
        // The copy counts, and somebody published what must not.
        &reasons::MATRIX_NOT_TRUSTED,
        &reasons::MATRIX_OUTDATED,
        &reasons::MATRIX_INVALID,
    ];
    grave.iter().any(|reason| reason.name == verdict.reason)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use vdo_api::Reason;

    use super::*;
    use crate::reasons::{
        CERTIFICATE_TRUSTED, CRDS_OUTDATED, INSECURE_BY_REQUEST, LOGIN_REFUSED, MATRIX_FETCH_FAILED,
        MATRIX_INVALID, MATRIX_NOT_TRUSTED, MATRIX_OUTDATED, NOT_CHECKED_YET, REACHED, RELEASES_CHOSEN,
        VCENTER_VERIFIED,
    };

    fn said(type_: &str, truth: Truth, reason: &Reason) -> Condition {
        Condition::new(type_, truth, reason, "", 1, Time(Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_verdict_is_told_when_it_turns_and_only_then() {
        let refused = [said("Ready", Truth::False, &LOGIN_REFUSED)];
        assert_eq!(news(&[], &refused).len(), 1);
        assert!(news(&refused, &refused).is_empty());
        let verified = [said("Ready", Truth::True, &VCENTER_VERIFIED)];
        assert_eq!(news(&refused, &verified).len(), 1);
        assert_eq!(weight(&refused[0]), Weight::Warning);
        assert_eq!(weight(&verified[0]), Weight::Normal);
    }

    #[test]
    fn what_waits_for_another_and_what_goes_well_is_no_news() {
        let waiting = [
            said("Trusted", Truth::Unknown, &NOT_CHECKED_YET),
            said("Ready", Truth::Unknown, &NOT_CHECKED_YET),
        ];
        assert!(news(&[], &waiting).is_empty());
        let well =
            [said("Trusted", Truth::True, &CERTIFICATE_TRUSTED), said("Reachable", Truth::True, &REACHED)];
        assert!(news(&waiting, &well).is_empty());
    }

    #[test]
    fn insecure_is_told_loudly_although_it_is_true() {
        let insecure = [said("Trusted", Truth::True, &INSECURE_BY_REQUEST)];
        assert_eq!(news(&[], &insecure).len(), 1);
        assert_eq!(weight(&insecure[0]), Weight::Warning);
        let outdated = [said("Accepted", Truth::True, &CRDS_OUTDATED)];
        assert_eq!((news(&[], &outdated).len(), weight(&outdated[0])), (1, Weight::Warning));
    }

    #[test]
    fn a_matrix_that_is_refused_while_its_copy_counts_is_told_loudly_and_once() {
        let resolved = |reason| [said("CompatibilityResolved", Truth::True, reason)];
        let well = resolved(&RELEASES_CHOSEN);
        for reason in [&MATRIX_NOT_TRUSTED, &MATRIX_OUTDATED, &MATRIX_INVALID] {
            let refused = resolved(reason);
            assert_eq!(news(&well, &refused).len(), 1, "{}", reason.name);
            assert_eq!(weight(&refused[0]), Weight::Warning, "{}", reason.name);
            assert!(news(&refused, &refused).is_empty() && news(&refused, &well).is_empty());
        }
        // A server that is down for a night is no attack.
        assert!(news(&well, &resolved(&MATRIX_FETCH_FAILED)).is_empty());
    }
}
