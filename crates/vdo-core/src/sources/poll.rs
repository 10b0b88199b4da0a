//! When a matrix is fetched, and what came of it. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vdo_compat::Source;
use vdo_fetch::{FetchError, Fetched as Answer, Known, TrustError};
use vdo_plan::Finding;
use vdo_runtime::clock::Monotonic;

use super::copy::Copy;
use crate::order::matrix::{Document, Fetched, Place, later};
use crate::reasons;

/// How often a matrix is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two fetches.
    pub every: Duration,
    /// How long a new one has to stand before something installed moves because of it.
    pub settle: Duration,
}

/// How soon it is tried again after a fault, at first.
const RETRY: Duration = Duration::from_secs(15);

/// What one fetch gave: the document with its signature, if one was asked for.
#[derive(Debug)]
pub enum Outcome {
    /// It is the one that is known.
    Unchanged,
    /// A document.
    Document {
        /// Its content.
        bytes: Vec<u8>,
        /// What its server marked it with.
        known: Known,
        /// Its signature, if there has to be one.
        signature: Option<Vec<u8>>,
    },
}

impl Outcome {
    /// An answer with the signature that goes with it.
    pub fn new(answer: Answer, signature: Option<Vec<u8>>) -> Self {
        match answer {
            Answer::Unchanged => Self::Unchanged,
            Answer::Document { bytes, known, .. } => Self::Document { bytes, known, signature },
        }
    }
}

/// A good copy and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Good {
    copy: Copy,
    document: Document,
    /// When this process read it first. One that another process kept was read when this one began with it: how long
    /// before, nobody knows.
    read: (Monotonic, Timestamp),
}

/// What is known about the matrix of one place.
#[derive(Debug)]
pub struct Poll {
    place: Place,
    pace: Pace,
    good: Option<Good>,
    fault: Option<Finding>,
    failures: u32,
    due: Option<(Monotonic, Timestamp)>,
}

impl Poll {
    /// Begins with what the cluster kept.
    pub fn new(place: Place, pace: Pace, kept: Option<Copy>, now: (Monotonic, Timestamp)) -> Self {
        let kept = kept.filter(|copy| copy.url == place.address.as_str());
        // Another pin or key may count by now.
        let good = kept.and_then(|copy| {
            place.check(&copy.bytes, copy.signature.as_deref()).ok()?;
            let document = read(&copy.bytes).ok()?;
            Some(Good { copy, document, read: now })
        });
        Poll { place, pace, good, fault: None, failures: 0, due: None }
    }

    /// The place.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How long until the next fetch.
    pub fn wait(&self, now: Monotonic) -> Duration {
        self.due.map_or(Duration::ZERO, |(due, _)| due.saturating_duration_since(now))
    }

    /// The marks of what is there.
    pub fn known(&self) -> Known {
        self.good.as_ref().map(|good| good.copy.known.clone()).unwrap_or_default()
    }

    /// What stood in the way of the last fetch, if something did.
    pub fn fault(&self) -> Option<&Finding> {
        self.fault.as_ref()
    }

    /// Takes what a fetch gave. Gives the copy that the cluster has to keep, if it is another one. `pause` stretches the
    /// time until the next fetch, so that clusters do not fetch in step.
    pub fn take(
        &mut self,
        outcome: Result<Outcome, FetchError>,
        now: (Monotonic, Timestamp),
        pause: impl FnOnce(Duration) -> Duration,
    ) -> Option<Copy> {
        let kept = self.good.as_ref().map(|good| good.copy.clone());
        match outcome.map_err(|error| fault(&self.place, &error)).and_then(|outcome| self.judge(outcome, now))
        {
            Ok(good) => {
                self.good = Some(good);
                self.fault = None;
                self.failures = 0;
            }
            Err(fault) => {
                self.fault = Some(fault);
                self.failures = self.failures.saturating_add(1);
            }
        }
        let rest = pause(self.rest());
        self.due = Some((now.0 + rest, later(now.1, rest)));
        self.good.as_ref().map(|good| good.copy.clone()).filter(|copy| Some(copy) != kept.as_ref())
    }

    fn rest(&self) -> Duration {
        match self.failures {
            0 if self.good.as_ref().is_some_and(|good| !good.copy.is_settled) => self.pace.settle,
            0 => self.pace.every,
            failures => RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(self.pace.every),
        }
    }

    fn judge(&self, outcome: Outcome, (now, wall): (Monotonic, Timestamp)) -> Result<Good, Finding> {
        let (bytes, known, signature) = match (outcome, &self.good) {
            (Outcome::Unchanged, Some(good)) => return Ok(good.seen_again(now, self.pace.settle)),
            (Outcome::Unchanged, None) => {
                return Err(failed(&self.place, "it says that nothing changed, and there is nothing yet"));
            }
            (Outcome::Document { bytes, known, signature }, _) => (bytes, known, signature),
        };
        self.place.check(&bytes, signature.as_deref()).map_err(|error| distrusted(&self.place, &error))?;
        if let Some(good) = self.good.as_ref().filter(|good| good.copy.bytes == bytes) {
            let copy = Copy { known, signature, ..good.copy.clone() };
            return Ok(Good { copy, ..good.clone() }.seen_again(now, self.pace.settle));
        }
        let document = read(&bytes).map_err(|error| {
            Finding::hold(
                &reasons::MATRIX_INVALID,
                format!("the matrix at {}: {error}; tell whoever publishes it", self.place.address),
            )
        })?;
        let before = self.good.as_ref().and_then(|good| good.document.matrix.serial);
        if document.matrix.serial < before {
            let serial = |serial: Option<u64>| serial.map_or("none".to_owned(), |serial| serial.to_string());
            return Err(Finding::hold(
                &reasons::MATRIX_OUTDATED,
                format!(
                    "the matrix at {} has serial {}, and {} was read before; tell whoever publishes it",
                    self.place.address,
                    serial(document.matrix.serial),
                    serial(before)
                ),
            ));
        }
        let copy = Copy {
            url: self.place.address.as_str().to_owned(),
            known,
            fetched: format!("{wall:.0}"),
            is_settled: false,
            bytes,
            signature,
        };
        Ok(Good { copy, document, read: (now, wall) })
    }

    /// The matrix, or why there is none.
    pub fn matrix(&self) -> Result<Fetched, Finding> {
        match (&self.good, &self.fault) {
            (Some(good), fault) => Ok(Fetched {
                document: good.document.clone(),
                settles: (!good.copy.is_settled).then(|| {
                    let stood = later(good.read.1, self.pace.settle);
                    self.due.map_or(stood, |(_, due)| due.max(stood))
                }),
                stale: fault.as_ref().map(|fault| Finding {
                    message: format!(
                        "{}; until then the copy of {} counts",
                        fault.message, good.copy.fetched
                    ),
                    ..fault.clone()
                }),
            }),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Err(Finding::hold(
                &reasons::MATRIX_NOT_FETCHED,
                format!("the matrix at {} is being fetched", self.place.address),
            )),
        }
    }
}

impl Good {
    fn seen_again(&self, now: Monotonic, settle: Duration) -> Good {
        let twice = now.duration_since(self.read.0) >= settle;
        let is_settled = self.copy.is_settled || twice;
        Good { copy: Copy { is_settled, ..self.copy.clone() }, ..self.clone() }
    }
}

/// What was said last of what stands in the way.
#[derive(Debug, Default)]
pub struct Said(Option<Finding>);

impl Said {
    /// What is to be said now: the same thing once, however often it comes.
    pub fn news<'a>(&mut self, fault: Option<&'a Finding>) -> Option<&'a Finding> {
        let news = fault.filter(|fault| self.0.as_ref() != Some(*fault));
        self.0 = fault.cloned();
        news
    }
}

fn read(bytes: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    Ok(vdo_matrix::parse(Source::Url, text).map_err(|error| error.to_string())?.into())
}

fn fault(place: &Place, error: &FetchError) -> Finding {
    match error {
        FetchError::NotTrusted(error) => distrusted(place, error),
        FetchError::AddressNotAllowed { .. }
        | FetchError::NameNotResolved { .. }
        | FetchError::Unreachable { .. }
        | FetchError::TimedOut { .. }
        | FetchError::TlsFailed { .. }
        | FetchError::ProxyRefused { .. }
        | FetchError::RedirectRefused { .. }
        | FetchError::RedirectToOtherServer { .. }
        | FetchError::TooManyRedirects { .. }
        | FetchError::Status { .. }
        | FetchError::Encoding { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Interrupted { .. }
        | FetchError::NotHttp { .. } => failed(place, &format!("{}: {error}", error.name())),
    }
}

fn distrusted(place: &Place, error: &TrustError) -> Finding {
    Finding::hold(&reasons::MATRIX_NOT_TRUSTED, format!("the matrix at {}: {error}", place.address))
}

fn failed(place: &Place, why: &str) -> Finding {
    Finding::hold(
        &reasons::MATRIX_FETCH_FAILED,
        format!("the matrix at {} could not be fetched: {why}", place.address),
    )
}

#[cfg(test)]
mod tests {
    use vdo_fetch::Pin;
    use vdo_runtime::clock::monotonic;

    use super::*;

    const PACE: Pace = Pace { every: Duration::from_secs(600), settle: Duration::from_secs(120) };

    /// Of openssl; the private half was thrown away.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIvEHrSx+viGWseRZlH01iKZ8itAI\n\
        vqmWWwYIL+UblRoW0uvhctPCknev+Qz0gmQ4Ul2jieSu+uGEDArMibBh3Q==\n\
        -----END PUBLIC KEY-----\n";
    /// What it signed `document(7, "3.7.0")` with, and `document(8, "3.8.0")`.
    const OF_SEVEN: &str =
        "MEQCIHuk6jHT3qkmhHLceMRZpbkvjW1I9w+ZXTAe44T8D5y/AiBjCDW3xcD1uHg1qWwOy4DlzUtyNxxxb5jqunBfryN4RQ==";
    const OF_EIGHT: &str =
        "MEUCIG5iVSCdNEasIiy6bokRb4QfeBlUTcwCrNUbmqS7mhWeAiEA6xLvQAZL8xLj6UVRS0Xjc1bcqyQ4VeOn6odIET/T5k0=";
    const ANOTHER_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvlOBHcK/gRHMmnP6g6eXKxX7zhRP\n\
        pcVtmCz4SAwLRAYXNLxKGbpf3A0HCBe9w66nlGnXvSSPbVX4sg6s6nmQPg==\n\
        -----END PUBLIC KEY-----\n";

    fn document(serial: u64, release: &str) -> Vec<u8> {
        format!(
            "schemaVersion: 1\nserial: {serial}\nrows:\n- driver: CSI\n  release: {release}\n  \
             kubernetes: {{min: \"1.30\", max: \"1.40\"}}\n  vsphere: {{min: \"7.0\"}}\n"
        )
        .into_bytes()
    }

    fn got(bytes: &[u8]) -> Result<Outcome, FetchError> {
        Ok(Outcome::Document { bytes: bytes.to_vec(), known: Known::default(), signature: None })
    }

    fn signed(bytes: &[u8], signature: &str) -> Result<Outcome, FetchError> {
        let signature = Some(signature.as_bytes().to_vec());
        Ok(Outcome::Document { bytes: bytes.to_vec(), known: Known::default(), signature })
    }

    fn down() -> Result<Outcome, FetchError> {
        Err(FetchError::Unreachable {
            at: "https://matrix.example.com/m".to_owned(),
            why: "refused".to_owned(),
        })
    }

    fn place() -> Place {
        Place { address: "https://matrix.example.com/m".parse().unwrap(), pin: None, key: None }
    }

    fn keyed(key: &str) -> Place {
        Place { key: Some(key.parse().unwrap()), ..place() }
    }

    struct World {
        poll: Poll,
        now: Monotonic,
    }

    impl World {
        fn new(place: Place, kept: Option<Copy>) -> World {
            let now = monotonic();
            World { poll: Poll::new(place, PACE, kept, (now, Timestamp::UNIX_EPOCH)), now }
        }

        fn take(&mut self, outcome: Result<Outcome, FetchError>) -> Option<Copy> {
            self.poll.take(outcome, (self.now, Timestamp::UNIX_EPOCH), |rest| rest)
        }

        fn is_settled(&self) -> bool {
            self.poll.matrix().unwrap().settles.is_none()
        }

        fn later(&mut self) {
            self.now += self.poll.wait(self.now);
        }

        fn reason(&self) -> &'static str {
            match self.poll.matrix() {
                Ok(fetched) => fetched.stale.map_or("", |it| it.reason.name),
                Err(finding) => finding.reason.name,
            }
        }

        fn release(&self) -> String {
            self.poll.matrix().unwrap().document.matrix.rows[0].release.to_string()
        }
    }

    #[test]
    fn it_is_fetched_at_once_read_twice_and_then_now_and_then() {
        let mut world = World::new(place(), None);
        assert_eq!((world.reason(), world.poll.wait(world.now)), ("MatrixNotFetched", Duration::ZERO));
        let first = world.take(got(&document(1, "3.7.0"))).unwrap();
        assert!(!first.is_settled && !world.is_settled());
        assert_eq!(world.poll.wait(world.now), PACE.settle);
        // Asked again too soon it is not yet read twice.
        assert_eq!(world.take(Ok(Outcome::Unchanged)), None);
        world.later();
        let stands_at = Timestamp::UNIX_EPOCH + PACE.settle;
        assert_eq!(world.poll.matrix().unwrap().settles, Some(stands_at), "it says when");
        let second = world.take(Ok(Outcome::Unchanged)).unwrap();
        assert!(second.is_settled && world.is_settled());
        assert_eq!(world.poll.wait(world.now), PACE.every);
        world.later();
        assert_eq!(world.take(got(&document(1, "3.7.0"))), None, "the same again is nothing to keep");
    }

    #[test]
    fn an_outage_keeps_what_is_there_and_is_told() {
        let mut world = World::new(place(), None);
        world.take(down());
        assert_eq!((world.reason(), world.poll.wait(world.now)), ("MatrixFetchFailed", RETRY));
        world.take(got(&document(1, "3.7.0")));
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(world.take(down()), None);
            waits.push(world.poll.wait(world.now).as_secs());
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600]);
        assert_eq!((world.reason(), world.release().as_str()), ("MatrixFetchFailed", "3.7.0"));
        let said = world.poll.matrix().unwrap().stale.unwrap().message;
        assert!(
            said.contains("refused") && said.ends_with("until then the copy of 1970-01-01T00:00:00Z counts"),
            "{said}"
        );
        world.take(Ok(Outcome::Unchanged));
        assert_eq!(world.reason(), "");
    }

    #[test]
    fn what_is_not_signed_with_the_key_replaces_nothing() {
        let (seven, eight) = (document(7, "3.7.0"), document(8, "3.8.0"));
        for (bytes, signature, words) in [
            (&eight, Some(OF_SEVEN), "the signature does not belong to this document and this public key"),
            (&eight, Some(""), "it is empty"),
            (&eight, None, "it is empty"),
            (&eight, Some("no signature"), "it is not base64"),
            (&seven, Some(OF_EIGHT), "the signature does not belong to this document and this public key"),
        ] {
            let mut world = World::new(keyed(KEY), None);
            assert!(world.take(signed(&seven, OF_SEVEN)).is_some());
            let outcome = signature.map_or_else(|| got(bytes), |signature| signed(bytes, signature));
            assert_eq!(world.take(outcome), None);
            assert_eq!((world.reason(), world.release().as_str()), ("MatrixNotTrusted", "3.7.0"));
            let said = world.poll.matrix().unwrap().stale.unwrap().message;
            assert!(said.contains(words) && said.contains("until then the copy of"), "{said}");
        }
        let mut world = World::new(keyed(KEY), None);
        world.take(signed(&seven, OF_SEVEN));
        let next = world.take(signed(&eight, OF_EIGHT)).unwrap();
        assert_eq!(
            (world.release().as_str(), next.signature.as_deref()),
            ("3.8.0", Some(OF_EIGHT.as_bytes()))
        );
        // Nothing was there before, and there is no way around the key.
        let mut world = World::new(keyed(ANOTHER_KEY), None);
        assert_eq!(world.take(signed(&seven, OF_SEVEN)), None);
        assert_eq!((world.reason(), world.poll.matrix().is_err()), ("MatrixNotTrusted", true));
    }

    #[test]
    fn what_the_cluster_kept_counts_only_with_a_signature_by_the_key_of_now() {
        let mut world = World::new(keyed(KEY), None);
        let kept = world.take(signed(&document(7, "3.7.0"), OF_SEVEN)).unwrap();
        let kept = Copy { known: Known { etag: Some("\"7\"".to_owned()), last_modified: None }, ..kept };
        let unsigned = Copy { signature: None, ..kept.clone() };
        let replaced = Copy { bytes: document(8, "3.8.0"), ..kept.clone() };
        for (key, copy, reason) in [
            (Some(KEY), &kept, ""),
            (None, &kept, ""),
            (None, &unsigned, ""),
            (Some(ANOTHER_KEY), &kept, "MatrixNotFetched"),
            (Some(KEY), &unsigned, "MatrixNotFetched"),
            (Some(KEY), &replaced, "MatrixNotFetched"),
        ] {
            let mut world = World::new(key.map_or_else(place, keyed), Some(copy.clone()));
            assert_eq!(world.reason(), reason, "{key:?} {copy:?}");
            // No mark of what does not count is sent: the document comes whole.
            assert_eq!(world.poll.known().etag.is_some(), reason.is_empty());
            world.take(down());
            assert_eq!(
                (world.reason(), world.poll.matrix().is_ok()),
                ("MatrixFetchFailed", reason.is_empty())
            );
        }
    }

    #[test]
    fn another_content_under_the_same_serial_is_read_twice_like_any_new_one() {
        let mut world = World::new(place(), None);
        world.take(got(&document(7, "3.7.0")));
        world.later();
        assert!(world.take(got(&document(7, "3.7.0"))).unwrap().is_settled);
        world.later();
        let replaced = world.take(got(&document(7, "3.8.0"))).unwrap();
        assert!(!replaced.is_settled, "nothing installed moves because of it yet");
        world.later();
        assert!(world.take(got(&document(7, "3.8.0"))).unwrap().is_settled);
    }

    #[test]
    fn what_is_wrong_older_or_not_the_pinned_one_replaces_nothing() {
        let good = document(7, "3.7.0");
        for (bytes, pin, reason) in [
            (b"[".to_vec(), None, "MatrixInvalid"),
            (vec![0xff, 0xfe], None, "MatrixInvalid"),
            (document(6, "3.8.0"), None, "MatrixOutdated"),
            (b"{\"CSI\":{\"3.8.0\":{\"vSphere\":{\"min\":\"7.0\",\"max\":\"9\"},\"k8s\":{\"min\":\"1.30\",\"max\":\"1.40\"},\"deploymentPath\":[\"x\"]}}}".to_vec(), None, "MatrixOutdated"),
            (document(8, "3.8.0"), Some(Pin::of(&good)), "MatrixNotTrusted"),
        ] {
            let mut world = World::new(Place { pin, ..place() }, None);
            world.take(got(&good));
            assert_eq!(world.take(got(&bytes)), None);
            assert_eq!((world.reason(), world.release().as_str()), (reason, "3.7.0"));
        }
        let mut world = World::new(place(), None);
        world.take(got(&good));
        assert!(world.take(got(&document(8, "3.8.0"))).is_some());
        assert_eq!(world.release(), "3.8.0");
        assert!(!world.is_settled(), "a new one is read twice, too");
    }

    #[test]
    fn a_document_that_flaps_never_settles() {
        let mut world = World::new(place(), None);
        for round in 0..6 {
            world.take(got(&document(1, if round % 2 == 0 { "3.7.0" } else { "3.8.0" })));
            assert!(!world.is_settled(), "round {round}");
            world.later();
        }
    }

    #[test]
    fn what_the_cluster_kept_counts_after_a_restart_if_it_is_of_this_place_and_still_trusted() {
        let bytes = document(3, "3.7.0");
        let kept = |url: &str| Copy {
            url: url.to_owned(),
            known: Known { etag: Some("\"3\"".to_owned()), last_modified: None },
            fetched: "2026-01-02T03:04:05Z".to_owned(),
            is_settled: true,
            bytes: bytes.clone(),
            signature: None,
        };
        let here = || Some(kept("https://matrix.example.com/m"));
        let mut world = World::new(place(), here());
        assert_eq!((world.reason(), world.poll.known().etag.as_deref()), ("", Some("\"3\"")));
        world.take(down());
        assert_eq!((world.reason(), world.release().as_str()), ("MatrixFetchFailed", "3.7.0"));
        assert_eq!(
            World::new(place(), Some(kept("https://elsewhere.example.com/m"))).reason(),
            "MatrixNotFetched"
        );
        let other = Place { pin: Some(Pin::of(b"other")), ..place() };
        assert_eq!(World::new(other, here()).reason(), "MatrixNotFetched");
        assert_eq!(World::new(Place { pin: Some(Pin::of(&bytes)), ..place() }, here()).reason(), "");
    }
    #[test]
    fn a_copy_that_was_read_once_before_a_restart_settles_as_late_as_one_that_is_new() {
        let bytes = document(3, "3.7.0");
        let kept = |is_settled| Copy {
            url: "https://matrix.example.com/m".to_owned(),
            known: Known::default(),
            fetched: "2026-01-02T03:04:05Z".to_owned(),
            is_settled,
            bytes: bytes.clone(),
            signature: None,
        };
        assert!(World::new(place(), Some(kept(true))).is_settled());
        let mut world = World::new(place(), Some(kept(false)));
        assert_eq!(world.poll.wait(world.now), Duration::ZERO);
        // It may have been read for the first time a second before.
        assert_eq!(world.take(Ok(Outcome::Unchanged)), None);
        assert!(!world.is_settled());
        assert_eq!(world.poll.wait(world.now), PACE.settle);
        world.later();
        assert!(world.take(Ok(Outcome::Unchanged)).unwrap().is_settled && world.is_settled());
    }

    #[test]
    fn what_is_refused_is_said_once_while_it_stays_the_same() {
        let mut world = World::new(place(), None);
        world.take(got(&document(7, "3.7.0")));
        let mut said = Said::default();
        assert_eq!(said.news(world.poll.fault()), None);
        for (serial, news) in [(6, true), (6, false), (5, true), (8, false), (7, true)] {
            world.take(got(&document(serial, "3.8.0")));
            assert_eq!(said.news(world.poll.fault()).is_some(), news, "{serial}");
        }
    }
}
