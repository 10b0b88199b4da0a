//! Which compatibility matrix counts. Pure.
//!
//! [`wanted`] says which source that is, [`choose`] gives its rows.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vdo_api::status::{Gate, MatrixRef};
use vdo_api::{CompatibilityConfigSpec, VDOConfigStatus};
use vdo_compat::{Matrix, Movement, Source, builtin};
use vdo_fetch::{Address, Pin, PublicKey, TrustError, verify};
use vdo_matrix::Note;
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

/// What was read out of the text of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its rows.
    pub matrix: Arc<Matrix>,
    /// What in it does nothing, or not what its author may think.
    pub notes: Arc<[Note]>,
}

impl From<vdo_matrix::Parsed> for Document {
    fn from(parsed: vdo_matrix::Parsed) -> Self {
        Document { matrix: parsed.matrix.into(), notes: parsed.notes.into() }
    }
}

/// A matrix from an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its rows.
    pub document: Document,
    /// When it is read a second time, while it was not: only then something installed may move because of it.
    pub settles: Option<Timestamp>,
    /// Why it could not be read anew, if it could not.
    pub stale: Option<Finding>,
}

/// The matrix that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its rows.
    pub matrix: Arc<Matrix>,
    /// What in it does nothing, or not what its author may think.
    pub notes: Arc<[Note]>,
    /// What it is called in status.
    pub reference: MatrixRef,
    /// Whether something installed may move by itself.
    pub movement: Movement,
    /// Before this time nothing installed may move because of it, whoever asks: it changed, and has not stood for a while.
    pub settles: Option<Timestamp>,
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
    parse: impl FnOnce(&str) -> Result<Document, vdo_matrix::Error>,
    fetched: impl FnOnce(&Place) -> Result<Fetched, Finding>,
) -> Result<Chosen, Finding> {
    let (mut movement, mut settles, mut stale) = (wanted.movement, None, None);
    let Document { matrix, notes } = match &wanted.origin {
        Origin::BuiltIn => Document { matrix: BUILT_IN.clone(), notes: Arc::default() },
        Origin::Content(content) => parse(content).map_err(|error| {
            let message = format!("{CONTENT} of {}: {error}; {OR_BUILT_IN}", wanted.source);
            Finding::hold(&reasons::MATRIX_INVALID, message)
        })?,
        Origin::Place(place) => {
            let fetched = fetched(place)?;
            if fetched.settles.is_some() {
                movement = Movement::Stay;
            }
            (settles, stale) = (fetched.settles, fetched.stale);
            fetched.document
        }
    };
    let reference = MatrixRef { source: wanted.source.clone(), digest: matrix.digest.clone() };
    Ok(Chosen { matrix, notes, reference, movement, settles, stale })
}

/// The text that was parsed last, and what came of it: most passes see the same one.
#[derive(Debug, Default)]
pub struct Parsed(Option<(String, Result<Document, vdo_matrix::Error>)>);

impl Parsed {
    /// The matrix in a text of a ConfigMap.
    pub fn matrix(&mut self, content: &str) -> Result<Document, vdo_matrix::Error> {
        match &self.0 {
            Some((seen, parsed)) if seen == content => parsed.clone(),
            Some(_) | None => {
                let parsed = vdo_matrix::parse(Source::ConfigMap, content).map(Document::from);
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

/// This much later.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Since when a matrix counts.
#[derive(Clone, Debug, Default)]
pub struct Standing(Option<Stand>);

#[derive(Clone, Debug)]
struct Stand {
    digest: String,
    since: Monotonic,
    /// When it has stood for long enough, on the wall clock.
    until: Timestamp,
    /// Whether another one counted for what is installed.
    is_change: bool,
}

/// What [`Standing::steady`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steadied {
    /// Whether this matrix has just begun to count.
    pub is_new: bool,
    /// How long something installed still waits for it.
    pub left: Option<Duration>,
}

impl Standing {
    /// Lets nothing installed move because of a matrix that has not stood for a while. `before` is the status as it is
    /// stored: the matrix that it names has not changed because this process began.
    pub fn steady(
        &mut self,
        chosen: &mut Chosen,
        before: Option<&VDOConfigStatus>,
        settle: Duration,
        (now, wall): (Monotonic, Timestamp),
    ) -> Steadied {
        let digest = &chosen.matrix.digest;
        let is_new = self.0.as_ref().is_none_or(|stand| stand.digest != *digest);
        let is_first = self.0.is_none();
        let stand = match self.0.take() {
            Some(stand) if !is_new => stand,
            Some(_) | None => Stand {
                digest: digest.clone(),
                since: now,
                until: later(wall, settle),
                is_change: has_installed(before) && !(is_first && counted(before, digest)),
            },
        };
        let stand = self.0.insert(stand);
        let left = (stand.since + settle).saturating_duration_since(now);
        if left.is_zero() || (chosen.movement == Movement::Stay && !stand.is_change) {
            return Steadied { is_new, left: None };
        }
        chosen.movement = Movement::Stay;
        if stand.is_change {
            chosen.settles = chosen.settles.max(Some(stand.until));
        }
        Steadied { is_new, left: Some(left) }
    }
}

fn has_installed(status: Option<&VDOConfigStatus>) -> bool {
    status.is_some_and(|status| {
        let cpi = status.cpi.as_ref().is_some_and(|it| it.record.installed.is_some());
        cpi || status.csi.as_ref().is_some_and(|it| it.record.installed.is_some())
    })
}

/// Whether this matrix counted already, and nothing waited for it to stand.
fn counted(status: Option<&VDOConfigStatus>, digest: &str) -> bool {
    let Some(gates) = status.and_then(|status| status.gates.as_ref()) else { return false };
    let waits = |gate: &Option<Gate>| {
        gate.as_ref().is_some_and(|gate| gate.reason == reasons::MATRIX_NOT_SETTLED.name)
    };
    gates.matrix.digest == digest && !waits(&gates.cpi) && !waits(&gates.csi)
}

/// The matrix of this build.
pub fn built_in() -> Chosen {
    let matrix = BUILT_IN.clone();
    let reference = MatrixRef { source: Source::BuiltIn.name().to_owned(), digest: matrix.digest.clone() };
    Chosen { matrix, notes: Arc::default(), reference, movement: Movement::Stay, settles: None, stale: None }
}

#[cfg(test)]
mod tests;
