//! A case: which workload, whose write, and where it is struck. Its name replays it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use testbed::faultproxy::{Action, Rule};

/// The operators.
pub const OPERATORS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];

/// What happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Workload {
    Install,
    Upgrade,
    Rollback,
    Rotation,
    Drift,
    Teardown,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 6] = [
        Workload::Install,
        Workload::Upgrade,
        Workload::Rollback,
        Workload::Rotation,
        Workload::Drift,
        Workload::Teardown,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Install => "install",
            Workload::Upgrade => "upgrade",
            Workload::Rollback => "rollback",
            Workload::Rotation => "rotation",
            Workload::Drift => "drift",
            Workload::Teardown => "teardown",
        }
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Workload> {
        Workload::ALL.into_iter().find(|it| it.name() == name).with_context(|| format!("no workload {name}"))
    }
}

/// Where a write is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The operator is killed before the API server sees the write.
    Before,
    /// The API server did it, and the operator is killed before it has the answer.
    After,
    /// The API server did it, the answer is lost, and the operator lives.
    Lost,
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 3] = [Place::Before, Place::After, Place::Lost];

    fn name(self) -> &'static str {
        match self {
            Place::Before => "before",
            Place::After => "after",
            Place::Lost => "lost",
        }
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What happens to the cluster.
    pub workload: Workload,
    /// Whose write it is.
    pub operator: &'static str,
    /// Which of its writes, from 1.
    pub write: u64,
    /// Where it is struck.
    pub place: Place,
}

impl Case {
    /// Every case of a workload in which the operator writes so often.
    pub fn all(workload: Workload, operator: &'static str, writes: u64) -> Vec<Case> {
        let each = |write| Place::ALL.map(|place| Case { workload, operator, write, place });
        (1..=writes).flat_map(each).collect()
    }

    /// The rule that makes it, when the operator has written so often before.
    pub fn rule(&self, before: u64) -> Rule {
        let at = |action| Rule::at_write(before + self.write, action);
        match self.place {
            Place::Before => at(Action::Kill),
            Place::After => at(Action::Kill).after(),
            Place::Lost => at(Action::DropReply),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.workload.name(), self.operator, self.write, self.place.name())
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Case> {
        let parts: Vec<&str> = text.split('/').collect();
        let [workload, operator, write, place] = parts[..] else {
            bail!("a case is WORKLOAD/OPERATOR/WRITE/PLACE, not {text}");
        };
        Ok(Case {
            workload: workload.parse()?,
            operator: operator_of(operator)?,
            write: write.parse().with_context(|| format!("the number of the write in {text}"))?,
            place: Place::ALL
                .into_iter()
                .find(|it| it.name() == place)
                .with_context(|| format!("no place {place}"))?,
        })
    }
}

/// The operator of this name.
pub fn operator_of(name: &str) -> Result<&'static str> {
    OPERATORS.into_iter().find(|it| *it == name).with_context(|| format!("no operator {name}"))
}

/// Which cases of all are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sample {
    /// Every one.
    #[default]
    All,
    /// Those of the first, the middle and the last write.
    FirstMiddleLast,
    /// The same writes, each at one place that a seed chooses.
    OnePlaceEach {
        /// The seed.
        seed: u64,
    },
    /// So many, chosen by a seed.
    Seeded {
        /// The seed.
        seed: u64,
        /// How many of each workload and operator.
        count: usize,
    },
}

impl FromStr for Sample {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Sample> {
        if text == "first-middle-last" {
            return Ok(Sample::FirstMiddleLast);
        }
        if let Some(seed) = text.strip_prefix("first-middle-last:") {
            return Ok(Sample::OnePlaceEach { seed: seed_of(seed)? });
        }
        let forms = "a sample is first-middle-last, first-middle-last:SEED or SEED:N";
        let (seed, count) = text.split_once(':').context(forms)?;
        Ok(Sample::Seeded { seed: seed_of(seed)?, count: count.parse().context("the number of cases")? })
    }
}

/// A commit is a seed too: its first 15 digits are.
fn seed_of(text: &str) -> Result<u64> {
    let digits: String = text.chars().take(15).collect();
    u64::from_str_radix(&digits, 16).with_context(|| format!("the seed {text}"))
}

impl Sample {
    /// The cases of the sample.
    pub fn of(self, cases: Vec<Case>) -> Vec<Case> {
        match self {
            Sample::All => cases,
            Sample::FirstMiddleLast => {
                let last = cases.iter().map(|case| case.write).max().unwrap_or_default();
                let wanted = [1, last.div_ceil(2), last];
                cases.into_iter().filter(|case| wanted.contains(&case.write)).collect()
            }
            Sample::OnePlaceEach { seed } => {
                let mut chosen = BTreeMap::new();
                for case in Sample::FirstMiddleLast.of(cases) {
                    let rank = mixed(seed, &case.to_string());
                    let best = chosen.entry(case.write).or_insert((rank, case.clone()));
                    if rank < best.0 {
                        *best = (rank, case);
                    }
                }
                chosen.into_values().map(|(_, case)| case).collect()
            }
            Sample::Seeded { seed, count } => {
                let mut ranked: Vec<(u64, Case)> =
                    cases.into_iter().map(|case| (mixed(seed, &case.to_string()), case)).collect();
                ranked.sort();
                ranked.into_iter().take(count).map(|(_, case)| case).collect()
            }
        }
    }
}

/// FNV-1a over the seed and a text: the same choice on every machine.
fn mixed(seed: u64, text: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_replayed_from_its_name() {
        for case in Case::all(Workload::Upgrade, "csi-operator", 2) {
            assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
        }
        assert!("install/cpi-operator/1".parse::<Case>().is_err());
        assert!("install/nobody/1/before".parse::<Case>().is_err());
    }

    #[test]
    fn every_write_has_three_cases() {
        assert_eq!(Case::all(Workload::Install, "vdo-core", 7).len(), 21);
    }

    #[test]
    fn the_small_sample_has_the_first_middle_and_last_write() {
        let all = Case::all(Workload::Install, "vdo-core", 7);
        let mut writes: Vec<u64> =
            "first-middle-last".parse::<Sample>().unwrap().of(all).iter().map(|it| it.write).collect();
        writes.dedup();
        assert_eq!(writes, [1, 4, 7]);
    }

    #[test]
    fn the_sample_of_ci_strikes_each_of_these_writes_once_and_over_the_commits_everywhere() {
        let of = |text: &str| text.parse::<Sample>().unwrap().of(Case::all(Workload::Install, "vdo-core", 7));
        let writes = |seed: &str| -> Vec<u64> { of(seed).iter().map(|it| it.write).collect() };
        let places: std::collections::BTreeSet<Place> =
            (0..20).flat_map(|seed| of(&format!("first-middle-last:{seed}"))).map(|it| it.place).collect();

        assert_eq!(writes("first-middle-last:abc"), [1, 4, 7]);
        assert_eq!(of("first-middle-last:abc"), of("first-middle-last:abc"));
        assert_eq!(places.len(), Place::ALL.len());
    }

    #[test]
    fn a_seed_chooses_the_same_cases_again_and_another_seed_others() {
        let all = || Case::all(Workload::Install, "vdo-core", 30);
        let of = |text: &str| text.parse::<Sample>().unwrap().of(all());

        assert_eq!(of("abc123:3").len(), 3);
        assert_eq!(of("abc123:3"), of("abc123:3"));
        assert_ne!(of("abc123:3"), of("def456:3"));
    }
}
