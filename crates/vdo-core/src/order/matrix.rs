//! Which compatibility matrix counts. Pure.

use std::collections::BTreeMap;

use vdo_api::names::MATRIX_CONFIG_MAPS;
use vdo_api::status::MatrixRef;
use vdo_compat::{Matrix, Movement, Source, builtin, legacy};
use vdo_plan::{Finding, Reading};

use crate::reasons;

const CONTENT: &str = "versionConfigContent";
const URL: &str = "versionConfigURL";
const AUTO_UPGRADE: &str = "auto-upgrade";

/// Everything that may name a matrix.
pub struct Sources<'a> {
    /// The ConfigMaps of [`MATRIX_CONFIG_MAPS`], by name.
    pub config_maps: Reading<BTreeMap<&'a str, BTreeMap<String, String>>>,
    /// The names of all CompatibilityConfigs.
    pub objects: Reading<Vec<String>>,
}

/// The matrix that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its rows.
    pub matrix: Matrix,
    /// What it is called in status.
    pub reference: MatrixRef,
    /// Whether something installed may move by itself.
    pub movement: Movement,
}

/// The one matrix, or why there is none.
pub fn choose(sources: &Sources<'_>) -> Result<Chosen, Finding> {
    let unreadable = |what: &str, why: &str| {
        Finding::hold(&reasons::MATRIX_INVALID, format!("{what} cannot be read: {why}"))
    };
    let maps = match &sources.config_maps {
        Reading::Present(maps) => maps.clone(),
        Reading::Absent => BTreeMap::new(),
        Reading::Unreadable(why) => return Err(unreadable("the ConfigMaps with a matrix", why)),
    };
    let objects = match &sources.objects {
        Reading::Present(objects) => objects.as_slice(),
        Reading::Absent => &[],
        Reading::Unreadable(why) => return Err(unreadable("the CompatibilityConfigs", why)),
    };
    let mut found: Vec<String> = maps.keys().map(|name| format!("ConfigMap/{name}")).collect();
    found.extend(objects.iter().map(|name| format!("CompatibilityConfig/{name}")));
    match (found.as_slice(), maps.iter().next()) {
        ([], _) => Ok(built_in()),
        ([one], Some((name, map))) => of_config_map(one, name, map),
        ([one], None) => Err(Finding::hold(
            &reasons::MATRIX_SOURCE_UNSUPPORTED,
            format!(
                "{one} names an address, and this release fetches none; put the content into {CONTENT} of ConfigMap {}, or delete {one} to use the built-in matrix",
                MATRIX_CONFIG_MAPS[0]
            ),
        )),
        (several, _) => Err(Finding::hold(
            &reasons::TWO_MATRICES,
            format!("{} all name a matrix; keep one", vdo_api::condition::name_some(several)),
        )),
    }
}

/// The matrix of this build.
pub fn built_in() -> Chosen {
    let matrix = builtin::matrix().clone();
    let reference = MatrixRef { source: Source::BuiltIn.name().to_owned(), digest: matrix.digest.clone() };
    Chosen { matrix, reference, movement: Movement::Stay }
}

fn of_config_map(source: &str, name: &str, map: &BTreeMap<String, String>) -> Result<Chosen, Finding> {
    let text = |key: &str| map.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    let content = match (text(CONTENT), text(URL)) {
        (Some(_), Some(_)) => {
            return Err(Finding::hold(
                &reasons::TWO_MATRICES,
                format!("ConfigMap {name} has both {CONTENT} and {URL}; keep one"),
            ));
        }
        (None, Some(_)) => {
            return Err(Finding::hold(
                &reasons::MATRIX_SOURCE_UNSUPPORTED,
                format!(
                    "ConfigMap {name} names an address in {URL}, and this release fetches none; put the content into {CONTENT}"
                ),
            ));
        }
        (None, None) => {
            return Err(Finding::hold(
                &reasons::MATRIX_INVALID,
                format!(
                    "ConfigMap {name} has no {CONTENT}; add it, or delete the ConfigMap to use the built-in matrix"
                ),
            ));
        }
        (Some(content), None) => content,
    };
    let parsed = legacy::parse(Source::ConfigMap, content).map_err(|error| {
        Finding::hold(
            &reasons::MATRIX_INVALID,
            format!("{CONTENT} of ConfigMap {name}: {error}; correct it, or delete the ConfigMap to use the built-in matrix"),
        )
    })?;
    let movement = match text(AUTO_UPGRADE) {
        Some("enabled" | "true") => Movement::Newest,
        Some(_) | None => Movement::Stay,
    };
    let reference = MatrixRef { source: source.to_owned(), digest: parsed.matrix.digest.clone() };
    Ok(Chosen { matrix: parsed.matrix, reference, movement })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"CSI":{"3.7.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"min":"1.30","max":"1.40"},"deploymentPath":["x"]}},
        "CPI":{"1.36.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"skewVersion":"1.36"},"deploymentPath":["x"]}}}"#;

    fn sources<'a>(maps: &[(&'a str, &[(&str, &str)])], objects: &[&str]) -> Sources<'a> {
        let entries = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Sources {
            config_maps: Reading::Present(maps.iter().map(|(name, list)| (*name, entries(list))).collect()),
            objects: Reading::Present(objects.iter().map(|it| (*it).to_owned()).collect()),
        }
    }

    #[test]
    fn without_a_source_the_built_in_matrix_counts() {
        assert_eq!(choose(&sources(&[], &[])).unwrap().reference.source, "BuiltIn");
    }

    #[test]
    fn either_config_map_is_read() {
        for name in MATRIX_CONFIG_MAPS {
            let chosen = choose(&sources(&[(name, &[(CONTENT, GOOD)])], &[])).unwrap();
            assert_eq!(chosen.reference.source, format!("ConfigMap/{name}"));
            assert_eq!(chosen.matrix.rows.len(), 2);
            assert_eq!(chosen.movement, Movement::Stay);
        }
        let moving = sources(&[(MATRIX_CONFIG_MAPS[0], &[(CONTENT, GOOD), (AUTO_UPGRADE, "enabled")])], &[]);
        assert_eq!(choose(&moving).unwrap().movement, Movement::Newest);
    }

    #[test]
    fn what_is_not_one_readable_source_is_a_finding() {
        let [first, second] = MATRIX_CONFIG_MAPS;
        let good: &[(&str, &str)] = &[(CONTENT, GOOD)];
        let cases = [
            (sources(&[(first, good), (second, good)], &[]), &reasons::TWO_MATRICES),
            (sources(&[(first, good)], &["c"]), &reasons::TWO_MATRICES),
            (sources(&[], &["c"]), &reasons::MATRIX_SOURCE_UNSUPPORTED),
            (sources(&[(first, &[(URL, "https://x")])], &[]), &reasons::MATRIX_SOURCE_UNSUPPORTED),
            (sources(&[(first, &[(URL, "https://x"), (CONTENT, GOOD)])], &[]), &reasons::TWO_MATRICES),
            (sources(&[(first, &[(CONTENT, "{")])], &[]), &reasons::MATRIX_INVALID),
            (sources(&[(first, &[])], &[]), &reasons::MATRIX_INVALID),
        ];
        for (sources, reason) in cases {
            let finding = choose(&sources).unwrap_err();
            assert_eq!(finding.reason, reason, "{}", finding.message);
        }
    }

    #[test]
    fn an_unreadable_source_is_never_taken_for_none() {
        let config_maps = Reading::Unreadable("forbidden".to_owned());
        let finding = choose(&Sources { config_maps, objects: Reading::Absent }).unwrap_err();
        assert_eq!(finding.reason, &reasons::MATRIX_INVALID);
    }
}
