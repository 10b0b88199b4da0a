//! Which compatibility matrix counts. Pure.
//!
//! [`wanted`] says which source that is, [`choose`] gives its rows.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use vdo_api::CompatibilityConfigSpec;
use vdo_api::status::MatrixRef;
use vdo_compat::{Matrix, Movement, Source, builtin};
use vdo_fetch::{Address, Pin, PublicKey, TrustError, verify};
use vdo_plan::{Finding, Reading};
use vdo_runtime::clock::Monotonic;
use vsphere_client::HostVersions;

use crate::reasons;

const CONTENT: &str = "versionConfigContent";
const URL: &str = "versionConfigURL";
const SHA256: &str = "versionConfigSHA256";
const PUBLIC_KEY: &str = "versionConfigPublicKey";
const AUTO_UPGRADE: &str = "auto-upgrade";
/// How to go on without a source.
const OR_BUILT_IN: &str = "correct it, or delete it to use the built-in matrix";

static BUILT_IN: LazyLock<Arc<Matrix>> = LazyLock::new(|| Arc::new(builtin::matrix().clone()));

/// Everything that may name a matrix.
pub struct Sources<'a> {
    /// The ConfigMaps of [`MATRIX_CONFIG_MAPS`], by name.
    pub config_maps: Reading<BTreeMap<&'a str, BTreeMap<String, String>>>,
    /// All CompatibilityConfigs; one that does not decode says why.
    pub objects: Reading<Vec<(String, Result<CompatibilityConfigSpec, String>)>>,
}

/// The source that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called in status: `BuiltIn`, `ConfigMap/name` or `CompatibilityConfig/name`.
    pub source: String,
    /// Where its rows are.
    pub origin: Origin,
    /// Whether something installed may move by itself.
    pub movement: Movement,
}

/// Where the rows of a source are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In this build.
    BuiltIn,
    /// In the source itself.
    Content(String),
    /// At an address.
    Place(Box<Place>),
}

/// An address, and what the matrix there has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: Address,
    /// The digest that it must have.
    pub pin: Option<Pin>,
    /// The key that it must be signed with.
    pub key: Option<PublicKey>,
}

impl Place {
    /// Whether a document is the one that is pinned, and signed as it has to be.
    pub fn check(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<(), TrustError> {
        check(self.pin, self.key.as_ref(), bytes, signature)
    }
}

/// Whether a document has this digest, if there is one, and was signed with this key, if there is one.
pub fn check(
    pin: Option<Pin>,
    key: Option<&PublicKey>,
    bytes: &[u8],
    signature: Option<&[u8]>,
) -> Result<(), TrustError> {
    if let Some(pin) = pin {
        pin.check(bytes)?;
    }
    match key {
        Some(key) => verify(key, bytes, signature.unwrap_or_default()),
        None => Ok(()),
    }
}

/// A matrix from an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its rows.
    pub matrix: Arc<Matrix>,
    /// Whether it was read twice, with time between: only then something installed may move because of it.
    pub is_settled: bool,
    /// Why it could not be read anew, if it could not.
    pub stale: Option<Finding>,
}

/// The matrix that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its rows.
    pub matrix: Arc<Matrix>,
    /// What it is called in status.
    pub reference: MatrixRef,
    /// Whether something installed may move by itself.
    pub movement: Movement,
    /// Why it may be out of date, if it may.
    pub stale: Option<Finding>,
}

/// Whether vCenters are asked what their ESXi hosts run: only if some row says something of them.
pub fn hosts_asked(matrix: &Matrix) -> HostVersions {
    if matrix.rows.iter().any(|row| row.esxi.is_some()) { HostVersions::Read } else { HostVersions::Skip }
}

/// Which source counts, or why none does.
pub fn wanted(sources: &Sources<'_>) -> Result<Wanted, Finding> {
    let unreadable = |what: &str, why: &str| {
        Finding::hold(&reasons::MATRIX_INVALID, format!("{what} cannot be read: {why}"))
    };
    let none = BTreeMap::new();
    let maps = match &sources.config_maps {
        Reading::Present(maps) => maps,
        Reading::Absent => &none,
        Reading::Unreadable(why) => return Err(unreadable("the ConfigMaps with a matrix", why)),
    };
    let objects = match &sources.objects {
        Reading::Present(objects) => objects.as_slice(),
        Reading::Absent => &[],
        Reading::Unreadable(why) => return Err(unreadable("the CompatibilityConfigs", why)),
    };
    if maps.len() > 1 {
        let names: Vec<String> = maps.keys().map(|name| format!("ConfigMap/{name}")).collect();
        return Err(several(&names));
    }
    let mut movement = Movement::Stay;
    let mut found = Vec::new();
    if let Some((name, map)) = maps.iter().next() {
        movement = movement_of(name, map)?;
        found.extend(of_config_map(name, map)?);
    }
    for (name, object) in objects {
        let source = format!("CompatibilityConfig/{name}");
        let origin =
            object.as_ref().map_err(|why| unreadable(&source, why)).and_then(|spec| of_object(&source, spec));
        found.push((source, origin));
    }
    let names: Vec<String> = found.iter().map(|(source, _)| source.clone()).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(several(&names)),
        (Some((source, origin)), None) => Ok(Wanted { source, origin: origin?, movement }),
        (None, _) => {
            Ok(Wanted { source: Source::BuiltIn.name().to_owned(), origin: Origin::BuiltIn, movement })
        }
    }
}

fn several(names: &[String]) -> Finding {
    let names = vdo_api::condition::name_some(names);
    Finding::hold(&reasons::TWO_MATRICES, format!("{names} all name a matrix; keep one"))
}

type Found = (String, Result<Origin, Finding>);

/// What a ConfigMap names. One that only says how to move names nothing: the source beside it counts, or the built-in one.
fn of_config_map(name: &str, map: &BTreeMap<String, String>) -> Result<Option<Found>, Finding> {
    let text = |key: &str| map.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    let source = format!("ConfigMap/{name}");
    let origin = match (text(CONTENT), text(URL)) {
        (Some(_), Some(_)) => {
            let message = format!("ConfigMap {name} has both {CONTENT} and {URL}; keep one");
            return Err(Finding::hold(&reasons::TWO_MATRICES, message));
        }
        (Some(content), None) => Ok(Origin::Content(content.to_owned())),
        (None, Some(url)) => {
            place(&source, (URL, url), (SHA256, text(SHA256)), (PUBLIC_KEY, text(PUBLIC_KEY)))
        }
        (None, None)
            if map.contains_key(AUTO_UPGRADE) && !map.contains_key(CONTENT) && !map.contains_key(URL) =>
        {
            return Ok(None);
        }
        (None, None) => {
            let message = format!(
                "ConfigMap {name} has neither {CONTENT} nor {URL}; add one, or delete it to use the built-in matrix"
            );
            Err(Finding::hold(&reasons::MATRIX_INVALID, message))
        }
    };
    Ok(Some((source, origin)))
}

fn of_object(source: &str, spec: &CompatibilityConfigSpec) -> Result<Origin, Finding> {
    let Some(url) = spec.matrix_url.as_deref().filter(|url| !url.is_empty()) else {
        let message = format!("{source} has no matrixURL; add it, or delete it to use the built-in matrix");
        return Err(Finding::hold(&reasons::MATRIX_INVALID, message));
    };
    place(
        source,
        ("spec.matrixURL", url),
        ("spec.sha256", spec.sha256.as_deref()),
        ("spec.publicKey", spec.public_key.as_deref()),
    )
}

/// Each part with the field that it stands in.
fn place(
    source: &str,
    url: (&str, &str),
    pin: (&str, Option<&str>),
    key: (&str, Option<&str>),
) -> Result<Origin, Finding> {
    let wrong = |field: &str, why: String| {
        Finding::hold(&reasons::MATRIX_INVALID, format!("{field} of {source}: {why}; {OR_BUILT_IN}"))
    };
    let address = url.1.parse::<Address>().map_err(|error| wrong(url.0, error.to_string()))?;
    let pin_value =
        pin.1.map(str::parse::<Pin>).transpose().map_err(|error| wrong(pin.0, error.to_string()))?;
    let key_value =
        key.1.map(str::parse::<PublicKey>).transpose().map_err(|error| wrong(key.0, error.to_string()))?;
    Ok(Origin::Place(Box::new(Place { address, pin: pin_value, key: key_value })))
}

/// Whether something installed may move by itself. `enabled` is what the original's users wrote.
fn movement_of(name: &str, map: &BTreeMap<String, String>) -> Result<Movement, Finding> {
    match map.get(AUTO_UPGRADE).map(|value| value.trim()) {
        None | Some("" | "disabled" | "false") => Ok(Movement::Stay),
        Some("patch") => Ok(Movement::Patch),
        Some("latest" | "enabled" | "true") => Ok(Movement::Latest),
        Some(_) => Err(Finding::hold(
            &reasons::MATRIX_INVALID,
            format!(
                "{AUTO_UPGRADE} of ConfigMap {name} is disabled, patch or latest; correct it, or remove the key"
            ),
        )),
    }
}

/// The rows of the source that counts. `parse` reads its text, if they are in one, and `fetched` is what came from its
/// address, if it has one.
pub fn choose(
    wanted: &Wanted,
    parse: impl FnOnce(&str) -> Result<Arc<Matrix>, vdo_matrix::Error>,
    fetched: impl FnOnce(&Place) -> Result<Fetched, Finding>,
) -> Result<Chosen, Finding> {
    let (mut movement, mut stale) = (wanted.movement, None);
    let matrix = match &wanted.origin {
        Origin::BuiltIn => BUILT_IN.clone(),
        Origin::Content(content) => parse(content).map_err(|error| {
            let message = format!("{CONTENT} of {}: {error}; {OR_BUILT_IN}", wanted.source);
            Finding::hold(&reasons::MATRIX_INVALID, message)
        })?,
        Origin::Place(place) => {
            let fetched = fetched(place)?;
            if !fetched.is_settled {
                movement = Movement::Stay;
            }
            stale = fetched.stale;
            fetched.matrix
        }
    };
    let reference = MatrixRef { source: wanted.source.clone(), digest: matrix.digest.clone() };
    Ok(Chosen { matrix, reference, movement, stale })
}

/// The text that was parsed last, and what came of it: most passes see the same one.
#[derive(Debug, Default)]
pub struct Parsed(Option<(String, Result<Arc<Matrix>, vdo_matrix::Error>)>);

impl Parsed {
    /// The matrix in a text of a ConfigMap.
    pub fn matrix(&mut self, content: &str) -> Result<Arc<Matrix>, vdo_matrix::Error> {
        match &self.0 {
            Some((seen, parsed)) if seen == content => parsed.clone(),
            Some(_) | None => {
                let parsed = vdo_matrix::parse(Source::ConfigMap, content).map(|it| Arc::new(it.matrix));
                self.0 = Some((content.to_owned(), parsed.clone()));
                parsed
            }
        }
    }
}

impl Wanted {
    /// The address of its rows, if they are at one.
    pub fn place(&self) -> Option<&Place> {
        match &self.origin {
            Origin::Place(place) => Some(place),
            Origin::BuiltIn | Origin::Content(_) => None,
        }
    }
}

/// Since when a matrix counts.
#[derive(Clone, Debug, Default)]
pub struct Standing(Option<(String, Monotonic)>);

impl Standing {
    /// Lets nothing installed move because of a matrix that has not stood for a while. Gives how long that still takes.
    pub fn steady(&mut self, chosen: &mut Chosen, settle: Duration, now: Monotonic) -> Option<Duration> {
        let since = match &self.0 {
            Some((digest, since)) if *digest == chosen.matrix.digest => *since,
            Some(_) | None => {
                self.0 = Some((chosen.matrix.digest.clone(), now));
                now
            }
        };
        let left = (since + settle).saturating_duration_since(now);
        if left.is_zero() || chosen.movement == Movement::Stay {
            return None;
        }
        chosen.movement = Movement::Stay;
        Some(left)
    }
}

/// The matrix of this build.
pub fn built_in() -> Chosen {
    let matrix = BUILT_IN.clone();
    let reference = MatrixRef { source: Source::BuiltIn.name().to_owned(), digest: matrix.digest.clone() };
    Chosen { matrix, reference, movement: Movement::Stay, stale: None }
}

#[cfg(test)]
mod tests {
    use vdo_api::names::MATRIX_CONFIG_MAPS;

    use super::*;

    const GOOD: &str = r#"{"CSI":{"3.7.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"min":"1.30","max":"1.40"},"deploymentPath":["x"]}},
        "CPI":{"1.36.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"skewVersion":"1.36"},"deploymentPath":["x"]}}}"#;
    const ADDRESS: &str = "https://matrix.example.com/m.json";

    fn sources<'a>(maps: &[(&'a str, &[(&str, &str)])], urls: &[&str]) -> Sources<'a> {
        let entries = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let object = |(at, url): (usize, &&str)| {
            let matrix_url = Some((*url).to_owned());
            (format!("c-{at}"), Ok(CompatibilityConfigSpec { matrix_url, ..Default::default() }))
        };
        Sources {
            config_maps: Reading::Present(maps.iter().map(|(name, list)| (*name, entries(list))).collect()),
            objects: Reading::Present(urls.iter().enumerate().map(object).collect()),
        }
    }

    fn fetched(is_settled: bool) -> Fetched {
        let matrix = vdo_matrix::parse(Source::Url, GOOD).unwrap().matrix.into();
        Fetched { matrix, is_settled, stale: None }
    }

    fn chosen(sources: &Sources<'_>) -> Result<Chosen, Finding> {
        choose(&wanted(sources)?, |content| Parsed::default().matrix(content), |_| Ok(fetched(true)))
    }

    #[test]
    fn without_a_source_the_built_in_matrix_counts() {
        assert_eq!(chosen(&sources(&[], &[])).unwrap(), built_in());
    }

    #[test]
    fn only_a_matrix_with_an_esxi_bound_asks_for_hosts() {
        assert_eq!(hosts_asked(&built_in().matrix), HostVersions::Skip);
        assert_eq!(hosts_asked(&fetched(true).matrix), HostVersions::Skip);
        let row = r#"{"driver": "CSI", "release": "3.7.0", "kubernetes": {"min": "1.30"}, "vsphere": {"min": "7.0"}, "esxi": {"min": "8.0"}}"#;
        let text = format!(r#"{{"schemaVersion": 1, "rows": [{row}]}}"#);
        let matrix = vdo_matrix::parse(Source::ConfigMap, &text).unwrap().matrix;
        assert_eq!(hosts_asked(&matrix), HostVersions::Read);
    }

    #[test]
    fn either_config_map_is_read() {
        for name in MATRIX_CONFIG_MAPS {
            let chosen = chosen(&sources(&[(name, &[(CONTENT, GOOD)])], &[])).unwrap();
            assert_eq!(chosen.reference.source, format!("ConfigMap/{name}"));
            assert_eq!(chosen.matrix.rows.len(), 2);
            assert_eq!(chosen.movement, Movement::Stay);
        }
    }

    #[test]
    fn an_address_is_one_of_a_config_map_or_of_a_compatibility_config() {
        let name = MATRIX_CONFIG_MAPS[0];
        let digest = "ab".repeat(32);
        let of_map = wanted(&sources(&[(name, &[(URL, ADDRESS), (SHA256, &digest)])], &[])).unwrap();
        let Origin::Place(place) = of_map.origin else { panic!("{:?}", of_map.origin) };
        assert_eq!((place.address.as_str(), place.pin), (ADDRESS, Some(digest.parse().unwrap())));
        let of_object = wanted(&sources(&[], &[ADDRESS])).unwrap();
        assert_eq!(of_object.source, "CompatibilityConfig/c-0");
        assert!(
            matches!(of_object.origin, Origin::Place(place) if place.pin.is_none() && place.key.is_none())
        );
        // A ConfigMap that only says how to move goes with it.
        let both = wanted(&sources(&[(name, &[(AUTO_UPGRADE, "patch")])], &[ADDRESS])).unwrap();
        assert_eq!((both.source.as_str(), both.movement), ("CompatibilityConfig/c-0", Movement::Patch));
    }

    #[test]
    fn auto_upgrade_says_how_far_something_installed_moves_also_with_the_built_in_matrix() {
        let name = MATRIX_CONFIG_MAPS[0];
        for (value, movement) in [
            ("disabled", Movement::Stay),
            ("false", Movement::Stay),
            ("", Movement::Stay),
            ("patch", Movement::Patch),
            ("latest", Movement::Latest),
            ("enabled", Movement::Latest),
            ("true", Movement::Latest),
        ] {
            let of_content = sources(&[(name, &[(CONTENT, GOOD), (AUTO_UPGRADE, value)])], &[]);
            assert_eq!(chosen(&of_content).unwrap().movement, movement, "{value}");
            let alone = chosen(&sources(&[(name, &[(AUTO_UPGRADE, value)])], &[])).unwrap();
            assert_eq!((alone.movement, alone.reference.source.as_str()), (movement, "BuiltIn"), "{value}");
        }
    }

    #[test]
    fn a_text_is_parsed_when_it_changes_and_only_then() {
        let mut parsed = Parsed::default();
        let first = parsed.matrix(GOOD).unwrap();
        assert!(Arc::ptr_eq(&first, &parsed.matrix(GOOD).unwrap()));
        let why = parsed.matrix("{").unwrap_err();
        assert_eq!(parsed.matrix("{").unwrap_err(), why);
        let again = parsed.matrix(GOOD).unwrap();
        assert!(again == first && !Arc::ptr_eq(&again, &first), "one text is kept");
    }

    #[test]
    fn the_built_in_matrix_is_shared() {
        let passes = [(); 2].map(|()| chosen(&sources(&[], &[])).unwrap().matrix);
        assert!(Arc::ptr_eq(&passes[0], &passes[1]));
    }

    #[test]
    fn what_was_fetched_once_moves_nothing() {
        let name = MATRIX_CONFIG_MAPS[0];
        let wanted = wanted(&sources(&[(name, &[(URL, ADDRESS), (AUTO_UPGRADE, "latest")])], &[])).unwrap();
        for (is_settled, movement) in [(false, Movement::Stay), (true, Movement::Latest)] {
            let parse = |_: &str| unreachable!("its rows are at an address");
            let chosen = choose(&wanted, parse, |_| Ok(fetched(is_settled))).unwrap();
            assert_eq!(chosen.movement, movement);
        }
    }

    #[test]
    fn a_matrix_has_to_stand_for_a_while_before_something_moves() {
        let settle = Duration::from_secs(120);
        let eager = |digest: &str| {
            let matrix = Matrix { digest: digest.to_owned(), ..builtin::matrix().clone() };
            Chosen { matrix: matrix.into(), movement: Movement::Latest, ..built_in() }
        };
        let (mut standing, begin) = (Standing::default(), vdo_runtime::clock::monotonic());
        let mut at = |seconds: u64, digest: &str| {
            let mut chosen = eager(digest);
            let left = standing.steady(&mut chosen, settle, begin + Duration::from_secs(seconds));
            (left.map(|left| left.as_secs()), chosen.movement)
        };
        assert_eq!(at(0, "a"), (Some(120), Movement::Stay));
        assert_eq!(at(119, "a"), (Some(1), Movement::Stay));
        assert_eq!(at(120, "a"), (None, Movement::Latest));
        // Another one begins anew, and so does the first when it comes back.
        assert_eq!(at(121, "b"), (Some(120), Movement::Stay));
        assert_eq!(at(122, "a"), (Some(120), Movement::Stay));
    }

    #[test]
    fn what_is_not_one_readable_source_is_a_finding() {
        let [first, second] = MATRIX_CONFIG_MAPS;
        let good: &[(&str, &str)] = &[(CONTENT, GOOD)];
        let invalid = &reasons::MATRIX_INVALID;
        for (sources, reason, says) in [
            (sources(&[(first, good), (second, good)], &[]), &reasons::TWO_MATRICES, "keep one"),
            (sources(&[(first, good)], &[ADDRESS]), &reasons::TWO_MATRICES, "keep one"),
            (sources(&[], &[ADDRESS, ADDRESS]), &reasons::TWO_MATRICES, "keep one"),
            (
                sources(&[(first, &[(URL, ADDRESS), (CONTENT, GOOD)])], &[]),
                &reasons::TWO_MATRICES,
                "keep one",
            ),
            (sources(&[], &[""]), invalid, "no matrixURL"),
            (sources(&[(first, &[(URL, "http://x")])], &[]), invalid, "versionConfigURL of ConfigMap/"),
            (sources(&[(first, &[(URL, "file:///m.json")])], &[]), invalid, "versionConfigURL of ConfigMap/"),
            (sources(&[(first, &[(URL, ADDRESS), (SHA256, "ab")])], &[]), invalid, "versionConfigSHA256 of"),
            (
                sources(&[(first, &[(URL, ADDRESS), (PUBLIC_KEY, "key")])], &[]),
                invalid,
                "versionConfigPublicKey of",
            ),
            (sources(&[(first, &[(CONTENT, "{")])], &[]), invalid, "versionConfigContent of"),
            (sources(&[(first, &[])], &[]), invalid, "neither"),
            (
                sources(&[(first, &[(CONTENT, GOOD), (AUTO_UPGRADE, "lates")])], &[]),
                invalid,
                "patch or latest",
            ),
            // Emptied, and not left out: somebody lost a matrix.
            (sources(&[(first, &[(CONTENT, ""), (AUTO_UPGRADE, "latest")])], &[]), invalid, "neither"),
        ] {
            let finding = chosen(&sources).unwrap_err();
            assert_eq!(finding.reason, reason, "{}", finding.message);
            assert!(finding.message.contains(says), "{}", finding.message);
        }
    }

    #[test]
    fn an_unreadable_source_is_never_taken_for_none() {
        let why = || "forbidden".to_owned();
        let broken = vec![("c".to_owned(), Err(why()))];
        for sources in [
            Sources { config_maps: Reading::Unreadable(why()), objects: Reading::Absent },
            Sources { config_maps: Reading::Absent, objects: Reading::Unreadable(why()) },
            Sources { config_maps: Reading::Absent, objects: Reading::Present(broken) },
        ] {
            assert_eq!(wanted(&sources).unwrap_err().reason, &reasons::MATRIX_INVALID);
        }
    }
}
