//! Whether the cluster may be upgraded with what is installed, and in which order to move.

use std::cmp::Reverse;

use serde::Serialize;

use crate::answer::{Misfit, Outside};
use crate::cluster::{Cluster, Survey};
use crate::matrix::{Channel, Driver, Matrix, Row};
use crate::select::{
    Movement, Request, choose, may_install, misfit_of_installed, outside_of_recommended, unrecommended,
};
use crate::version::Release;

/// What to do about one driver when the cluster is upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prospect {
    /// The driver.
    pub driver: Driver,
    /// What is installed.
    pub installed: Release,
    /// What to do.
    pub advice: Advice,
    /// The release that was rolled back, if it is left out of the advice and would have changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Release>,
}

/// What to do about a driver when the cluster is upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Advice {
    /// Upgrade the cluster; what is installed may stay.
    Go {
        /// The release to move to afterwards, if there is a better one then.
        then: Option<Release>,
    },
    /// Move the driver to this release first: it fits the cluster before and after.
    First(Release),
    /// Nothing of the matrix is made for the upgraded cluster. What is installed would run outside of this.
    NotYet(Outside),
    /// What is installed would be refused, and no release fits before and after.
    Stop(Misfit),
}

impl Advice {
    /// Whether the cluster may be upgraded right now.
    pub fn may_upgrade(&self) -> bool {
        matches!(self, Self::Go { .. })
    }
}

/// What to do about a driver before the cluster becomes another one. Nobody is sent to the release that was `refused`.
pub fn prospect(
    matrix: &Matrix,
    driver: Driver,
    installed: Release,
    refused: Option<Release>,
    (now, next): (&Cluster, &Cluster),
    channel: Channel,
) -> Prospect {
    let clusters = (&Survey::of(now), &Survey::of(next));
    let advice = advise(matrix, driver, installed, refused, clusters, channel);
    let refused = refused.filter(|_| advise(matrix, driver, installed, None, clusters, channel) != advice);
    Prospect { driver, installed, advice, refused }
}

fn advise(
    matrix: &Matrix,
    driver: Driver,
    installed: Release,
    refused: Option<Release>,
    (now, next): (&Survey, &Survey),
    channel: Channel,
) -> Advice {
    let offered = |row: &&Row| Some(row.release) != refused;
    let request =
        Request { installed: Some(installed), movement: Movement::Latest, channel, ..Request::default() };
    let fits = |row: &Row, survey: &Survey| may_install(row, survey, &request);
    let made_for = |row: &Row, survey: &Survey| fits(row, survey) && unrecommended(row, survey) == (0, 0);
    let bridges = matrix.rows_of(driver).filter(|row| fits(row, now) && fits(row, next));
    let bridge = bridges.filter(offered).max_by_key(|row| {
        let outside = (unrecommended(row, next), unrecommended(row, now));
        (Reverse(outside), row.release)
    });
    let then = choose(matrix, driver, next, &request).filter(offered);
    let misfit = misfit_of_installed(matrix, driver, installed, next);
    let outside = matrix.row(driver, installed).and_then(|row| outside_of_recommended(row, &next.cluster));
    let newer = |row: &&Row| row.release > installed;
    match (misfit, outside, bridge, then) {
        (None, None, _, then) => Advice::Go { then: then.filter(newer).map(|row| row.release) },
        // Never outside of what is recommended on the way.
        (_, _, Some(row), _) if made_for(row, now) && made_for(row, next) => Advice::First(row.release),
        (None, Some(_), _, Some(row)) if made_for(row, next) => Advice::Go { then: Some(row.release) },
        (None, Some(outside), ..) => Advice::NotYet(outside),
        (Some(_), _, Some(row), _) => Advice::First(row.release),
        (Some(misfit), _, None, _) => Advice::Stop(misfit),
    }
}

/// Whether all drivers may stay as they are while the cluster is upgraded.
pub fn may_upgrade(prospects: &[Prospect]) -> bool {
    prospects.iter().all(|prospect| prospect.advice.may_upgrade())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::select::tests::{cluster, made_for, matrix, row};
    use crate::{Marks, Why};

    fn of(matrix: &Matrix, driver: Driver, installed: &str, now: (&str, &str), next: (&str, &str)) -> Advice {
        let (now, next) = (cluster(now.0, &[now.1]), cluster(next.0, &[next.1]));
        let installed = installed.parse().unwrap();
        prospect(matrix, driver, installed, None, (&now, &next), Channel::Stable).advice
    }

    /// By the tables of docs/compatibility.md.
    #[test]
    fn the_built_in_releases_follow_kubernetes_in_the_order_of_the_skew_policy() {
        let release = |text: &str| text.parse::<Release>().unwrap();
        for (driver, installed, from, to, advice) in [
            // CPI is never newer than the API server: it moves after it.
            (Driver::Cpi, "1.35.1", "1.35.3", "1.36.0", Advice::Go { then: Some(release("1.36.0")) }),
            (Driver::Cpi, "1.36.0", "1.36.0", "1.36.2", Advice::Go { then: None }),
            // Two at once: on the way it runs outside of its window, afterwards there is one that is made for it.
            (Driver::Cpi, "1.34.0", "1.34.0", "1.36.0", Advice::Go { then: Some(release("1.36.0")) }),
            // 3.8.0 is made for both.
            (Driver::Csi, "3.7.3", "1.35.0", "1.36.0", Advice::First(release("3.8.0"))),
            (Driver::Csi, "3.8.0", "1.35.0", "1.36.0", Advice::Go { then: None }),
            (Driver::Csi, "3.7.0", "1.34.0", "1.35.0", Advice::Go { then: Some(release("3.8.0")) }),
        ] {
            let said = of(builtin::matrix(), driver, installed, (from, "8.0.3"), (to, "8.0.3"));
            assert_eq!(said, advice, "{driver} {installed} from {from} to {to}");
        }
        let ahead = of(builtin::matrix(), Driver::Csi, "3.8.0", ("1.36.0", "8.0.3"), ("1.37.0", "8.0.3"));
        assert!(matches!(ahead, Advice::NotYet(Outside::Kubernetes { .. })), "{ahead:?}");
    }

    #[test]
    fn a_hard_bound_has_to_be_bridged() {
        let rows = |ranges: &[(&str, (&str, &str))]| {
            matrix(
                ranges
                    .iter()
                    .map(|(release, kubernetes)| row(release, *kubernetes, ("7.0", "9.0")))
                    .collect(),
            )
        };
        let step = (("1.34.0", "8.0.3"), ("1.35.0", "8.0.3"));
        let ask = |matrix: &Matrix| of(matrix, Driver::Csi, "3.7.0", step.0, step.1);
        let bridged =
            rows(&[("3.7.0", ("1.33", "1.34")), ("3.8.0", ("1.34", "1.36")), ("3.9.0", ("1.35", "1.36"))]);
        assert_eq!(ask(&bridged), Advice::First(Release::new(3, 8, 0)));
        let torn = rows(&[("3.7.0", ("1.33", "1.34")), ("3.9.0", ("1.35", "1.36"))]);
        assert!(matches!(ask(&torn), Advice::Stop(Misfit { why: Why::Outside(_), .. })));
        let unknown = rows(&[("3.9.0", ("1.35", "1.36"))]);
        assert!(matches!(ask(&unknown), Advice::Stop(Misfit { why: Why::NotInMatrix, .. })));
        assert!(!Advice::First(Release::new(3, 8, 0)).may_upgrade());
    }

    #[test]
    fn a_bridge_that_is_only_not_refused_is_taken_where_nothing_better_is() {
        let rows = matrix(vec![
            row("3.7.0", ("1.33", "1.34"), ("7.0", "9.0")),
            made_for(("1.35", "1.36"), row("3.8.0", ("1.27", "1.40"), ("7.0", "9.0"))),
        ]);
        let said = of(&rows, Driver::Csi, "3.7.0", ("1.34.0", "8.0.3"), ("1.35.0", "8.0.3"));
        assert_eq!(said, Advice::First(Release::new(3, 8, 0)));
    }

    #[test]
    fn a_candidate_is_advised_only_to_those_who_ask_for_candidates() {
        let candidate = Row {
            marks: Marks { channel: Channel::Candidate, ..Marks::default() },
            ..row("3.8.0", ("1.34", "1.36"), ("7.0", "9.0"))
        };
        let rows = matrix(vec![row("3.7.0", ("1.33", "1.34"), ("7.0", "9.0")), candidate]);
        let (now, next) = (cluster("1.34.0", &["8.0.3"]), cluster("1.35.0", &["8.0.3"]));
        let ask = |channel| {
            prospect(&rows, Driver::Csi, Release::new(3, 7, 0), None, (&now, &next), channel).advice
        };
        assert!(matches!(ask(Channel::Stable), Advice::Stop(_)));
        assert_eq!(ask(Channel::Candidate), Advice::First(Release::new(3, 8, 0)));
    }

    #[test]
    fn a_release_that_was_rolled_back_is_left_out_and_the_next_best_is_advised() {
        let rows = matrix(
            ["3.8.0", "3.9.0"]
                .map(|release| row(release, ("1.34", "1.36"), ("7.0", "9.0")))
                .into_iter()
                .chain([row("3.7.0", ("1.33", "1.34"), ("7.0", "9.0"))])
                .collect(),
        );
        let (now, next) = (cluster("1.34.0", &["8.0.3"]), cluster("1.35.0", &["8.0.3"]));
        let ask = |installed, refused| {
            prospect(&rows, Driver::Csi, installed, refused, (&now, &next), Channel::Stable)
        };
        let [old, middle, new] = [7, 8, 9].map(|minor| Release::new(3, minor, 0));
        for (installed, refused, advice, left_out) in [
            (old, None, Advice::First(new), None),
            (old, Some(new), Advice::First(middle), Some(new)),
            (old, Some(middle), Advice::First(new), None),
            (middle, None, Advice::Go { then: Some(new) }, None),
            (middle, Some(new), Advice::Go { then: None }, Some(new)),
        ] {
            let said = ask(installed, refused);
            assert_eq!((said.advice, said.refused), (advice, left_out), "{installed} without {refused:?}");
        }
    }

    #[test]
    fn a_vcenter_is_a_step_too() {
        let rows = matrix(vec![
            row("3.7.0", ("1.33", "1.36"), ("7.0", "8.0")),
            row("3.8.0", ("1.33", "1.36"), ("8.0", "9.1")),
        ]);
        let said = of(&rows, Driver::Csi, "3.7.0", ("1.34.0", "8.0.3"), ("1.34.0", "9.0.1"));
        assert_eq!(said, Advice::First(Release::new(3, 8, 0)));
        let both =
            Prospect { driver: Driver::Csi, installed: Release::new(3, 7, 0), advice: said, refused: None };
        let fine = Prospect { advice: Advice::Go { then: None }, ..both.clone() };
        assert_eq!((may_upgrade(&[fine.clone(), both]), may_upgrade(&[fine])), (false, true));
    }
}
