//! Looks up what a reason means, in the catalogues of every crate.

use vdo_api::Reason;

/// Every catalogue of reasons.
fn catalogues() -> [&'static [Reason]; 8] {
    [
        vdo_api::reason::ALL,
        vdo_plan::driver::reasons::ALL,
        vdo_plan::vcenter::reasons::ALL,
        vdo_plan::foreign::reasons::ALL,
        cpi_operator::inputs::reasons::ALL,
        csi_operator::reasons::ALL,
        vdo_core::reasons::ALL,
        crate::nodes::reasons::ALL,
    ]
}

/// Every reason that VDO gives.
pub fn all() -> impl Iterator<Item = &'static Reason> {
    catalogues().into_iter().flatten()
}

/// The reason of this name, in whatever case.
pub fn find(name: &str) -> Option<&'static Reason> {
    all().find(|reason| reason.name.eq_ignore_ascii_case(name.trim()))
}

/// Every reason of this name, in whatever case: programs may use one word for neighbouring things.
pub fn find_all(name: &str) -> Vec<&'static Reason> {
    all().filter(|reason| reason.name.eq_ignore_ascii_case(name.trim())).collect()
}

/// The names that are most like this one, best first; none if nothing is.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    let mut scored: Vec<(f64, &'static str)> = all()
        .map(|reason| {
            let known = reason.name.to_ascii_lowercase();
            let part = name.len() >= 3 && (known.contains(&name) || name.contains(&known));
            let like = strsim::normalized_damerau_levenshtein(&known, &name);
            (if part { like.max(0.7) } else { like }, reason.name)
        })
        .filter(|(like, _)| *like >= 0.5)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, name)| *name);
    scored.into_iter().take(vdo_api::condition::SHOWN).map(|(_, name)| name).collect()
}

/// A reason in words.
pub fn screen(reason: &Reason) -> String {
    format!(
        "{}\n  {}\n\nMeanwhile\n  {}\n\nWhat to do\n  {}\n",
        reason.name, reason.meaning, reason.meanwhile, reason.remedy
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_in_any_case_with_its_remedy() {
        let reason = find("cpinotready").unwrap();
        assert_eq!(reason.name, "CPINotReady");
        assert!(screen(reason).contains("See the condition CPIReady."));
        assert!(find("Unheard").is_none());
    }

    #[test]
    fn the_nearest_names_are_offered_and_nonsense_has_none() {
        assert_eq!(nearest("CPINotRedy")[0], "CPINotReady");
        assert!(nearest("duplicate").contains(&"DuplicateServer"));
        assert_eq!(nearest("qqqqqqqqqqqqqqqqq"), Vec::<&str>::new());
        assert!(nearest("e").len() <= 5);
    }

    #[test]
    fn every_catalogue_is_looked_through() {
        for name in [
            "AsWanted",
            "Installed",
            "VCenterNotVerified",
            "ForeignInstallation",
            "NodesOutsideVsphere",
            "CSIReleaseUnknown",
            "LoginRefused",
            "CSINotRegistered",
        ] {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_name_means_the_same_wherever_it_is_declared() {
        for reason in all() {
            for other in all().filter(|other| other.name.eq_ignore_ascii_case(reason.name)) {
                assert_eq!(other.name, reason.name);
            }
        }
    }
}
