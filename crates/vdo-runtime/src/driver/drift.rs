//! What was found in the place of an object of ours that is about to be put back.

use vdo_plan::ObjectRef;
use vdo_plan::drift::Change;

/// How many fields are named.
const NAMED: usize = 3;

/// What somebody did to an object.
pub enum Drift {
    /// Deleted it.
    Gone,
    /// Changed these fields; if none, its marks.
    Changed(Vec<Change>),
    /// Nobody knows: it could not be read.
    Unread,
}

impl Drift {
    /// The fields that were changed.
    pub fn changes(&self) -> &[Change] {
        match self {
            Drift::Changed(changes) => changes,
            Drift::Gone | Drift::Unread => &[],
        }
    }

    /// What happened, in words.
    pub fn described(&self, object: &ObjectRef) -> String {
        let changes = match self {
            Drift::Gone => return format!("{object} was deleted, and is there again"),
            Drift::Unread => return format!("{object} was not as VDO applied it, and is again"),
            Drift::Changed(changes) if changes.is_empty() => {
                return format!("{object} had lost marks of VDO, and has them again");
            }
            Drift::Changed(changes) => changes,
        };
        let told: Vec<String> = changes
            .iter()
            .take(NAMED)
            .map(|change| {
                let by = change.manager.as_ref().map(|it| format!(", set by {it}")).unwrap_or_default();
                match &change.found {
                    Some(found) => {
                        format!("{} was {found}{by}, put back to {}", change.path, change.ours)
                    }
                    None => format!("{} was missing{by}, put back to {}", change.path, change.ours),
                }
            })
            .collect();
        let told = told.join("; ");
        match changes.len().saturating_sub(NAMED) {
            0 => format!("{object}: {told}"),
            more => format!("{object}: {told}; and {more} more fields"),
        }
    }
}
