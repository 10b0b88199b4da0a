//! The words that conditions, events and `vdoctl explain` use.

/// Why a condition is what it is. The name is public API; the rest is documentation for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A state in PascalCase, unique among all operators.
    pub name: &'static str,
    /// What was found.
    pub meaning: &'static str,
    /// What VDO does as long as it lasts.
    pub meanwhile: &'static str,
    /// What the user can do.
    pub remedy: &'static str,
}

/// Declares reasons and lists them, so that docs and checks see every one of them.
#[macro_export]
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal { $meaning:literal, $meanwhile:literal, $remedy:literal $(,)? })*) => {
        $($(#[$doc])* #[doc = $meaning] pub const $name: $crate::Reason = $crate::Reason {
            name: $word, meaning: $meaning, meanwhile: $meanwhile, remedy: $remedy,
        };)*
        /// Every reason of this module.
        pub const ALL: &[$crate::Reason] = &[$($name),*];
    };
}

reasons! {
    AS_WANTED = "AsWanted" {
        "Everything is as the spec asks.",
        "VDO watches and repairs drift.",
        "Nothing to do.",
    }
    NOT_SEEN_YET = "NotSeenYet" {
        "The operator has not looked at this generation yet.",
        "What is installed keeps running.",
        "Wait a minute; if it stays, see whether the operator's pod runs.",
    }
}
