//! What can go wrong with a request to the API server, by cause.

use std::time::Duration;

use kube::core::Status;
use vdo_api::condition::clip;

/// The longest text of a server that is kept, in characters.
const TEXT_LIMIT: usize = 512;
/// The longest pause that a server is given because it asks for it. Whoever leaves a cluster alone for an hour does not
/// see what happens in it.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a request to the API server gave nothing. Texts are bounded and never hold a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeFault {
    /// No answer came in time; whether the server did it is not known.
    #[error("the API server did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The server could not be reached, or said that it cannot work now.
    #[error("the API server is not available: {message}")]
    Unavailable {
        /// What the connection or the server said.
        message: String,
    },
    /// The credentials were not accepted.
    #[error("the API server does not accept this account: {message}")]
    Unauthorized {
        /// What the server said.
        message: String,
    },
    /// The account may not do this.
    #[error("not allowed: {message}")]
    Forbidden {
        /// The verb that a role has to grant, as the server named it.
        verb: Option<String>,
        /// What the server said.
        message: String,
    },
    /// The object, or its kind, does not exist.
    #[error("not found: {message}")]
    NotFound {
        /// What the server said.
        message: String,
    },
    /// Somebody else wrote first, or the object exists already.
    #[error("somebody else wrote first: {message}")]
    Conflict {
        /// What the server said.
        message: String,
    },
    /// The version asked for is no longer kept.
    #[error("the version asked for is no longer kept")]
    Gone,
    /// The server asks us to slow down.
    #[error("the API server asks to slow down{}", pause_in_words(.retry_after))]
    TooMany {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
    },
    /// The server refuses the content. Trying the same again is pointless.
    #[error("the API server refuses the content: {message}")]
    Invalid {
        /// What the server said.
        message: String,
    },
    /// The answer could not be understood.
    #[error("the answer of the API server is not understood: {message}")]
    Malformed {
        /// Where reading it failed; never a part of the answer.
        message: String,
    },
    /// Anything else.
    #[error("the API server failed: {message}")]
    Other {
        /// What was said.
        message: String,
    },
}

/// When it makes sense to ask again, by cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once, from a new read: the world moved on.
    Reread,
    /// Soon, with a short growing pause: the fault passes by itself.
    Soon,
    /// After the time that the server asked for.
    After(Duration),
    /// Slowly: a person has to change something.
    Slowly,
}

impl KubeFault {
    /// When to ask again.
    pub fn retry(&self) -> Retry {
        match self {
            KubeFault::Conflict { .. } | KubeFault::Gone => Retry::Reread,
            KubeFault::Timeout(_) | KubeFault::Unavailable { .. } | KubeFault::Other { .. } => Retry::Soon,
            KubeFault::TooMany { retry_after: Some(pause) } => Retry::After((*pause).min(LONGEST_PAUSE)),
            KubeFault::TooMany { retry_after: None } => Retry::Soon,
            KubeFault::Unauthorized { .. }
            | KubeFault::Forbidden { .. }
            | KubeFault::NotFound { .. }
            | KubeFault::Invalid { .. }
            | KubeFault::Malformed { .. } => Retry::Slowly,
        }
    }

    /// One word for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            KubeFault::Timeout(_) => "timeout",
            KubeFault::Unavailable { .. } => "unavailable",
            KubeFault::Unauthorized { .. } => "unauthorized",
            KubeFault::Forbidden { .. } => "forbidden",
            KubeFault::NotFound { .. } => "not_found",
            KubeFault::Conflict { .. } => "conflict",
            KubeFault::Gone => "gone",
            KubeFault::TooMany { .. } => "too_many",
            KubeFault::Invalid { .. } => "invalid",
            KubeFault::Malformed { .. } => "malformed",
            KubeFault::Other { .. } => "other",
        }
    }

    /// Whether a write that ended so may still be carried out by the server.
    pub fn leaves_open(&self) -> bool {
        matches!(self, KubeFault::Timeout(_) | KubeFault::Unavailable { .. })
    }

    /// Whether the server itself gave this answer.
    pub fn is_answer(&self) -> bool {
        !self.leaves_open()
    }

    /// Whether the content is refused because it would change a field that can only be set once.
    pub fn is_about_an_immutable_field(&self) -> bool {
        const WORDS: [&str; 3] = ["field is immutable", "cannot change roleRef", "updates to immutable"];
        match self {
            KubeFault::Invalid { message } => WORDS.iter().any(|words| message.contains(words)),
            KubeFault::Timeout(_)
            | KubeFault::Unavailable { .. }
            | KubeFault::Unauthorized { .. }
            | KubeFault::Forbidden { .. }
            | KubeFault::NotFound { .. }
            | KubeFault::Conflict { .. }
            | KubeFault::Gone
            | KubeFault::TooMany { .. }
            | KubeFault::Malformed { .. }
            | KubeFault::Other { .. } => false,
        }
    }

    /// The fault without what the server said about the content, for objects that hold secrets: a server
    /// may repeat a value that it refuses.
    pub fn without_content(self) -> Self {
        match self {
            KubeFault::Invalid { .. } => KubeFault::Invalid { message: "(not shown)".into() },
            KubeFault::Other { .. } => KubeFault::Other { message: "(not shown)".into() },
            KubeFault::Conflict { .. } => KubeFault::Conflict { message: "(not shown)".into() },
            fault @ (KubeFault::Timeout(_)
            | KubeFault::Unavailable { .. }
            | KubeFault::Unauthorized { .. }
            | KubeFault::Forbidden { .. }
            | KubeFault::NotFound { .. }
            | KubeFault::Gone
            | KubeFault::TooMany { .. }
            | KubeFault::Malformed { .. }) => fault,
        }
    }

    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        // The text of serde may quote a value; the place is enough to find the field.
        let message = format!("line {} column {}", error.line(), error.column());
        KubeFault::Malformed { message }
    }

    /// What a page for people means that came in the place of an answer. That there is no such object is nothing that a
    /// page can say.
    fn of_page(code: u16) -> Self {
        let message = format!("a web page with code {code} came in its place");
        match code {
            401 => KubeFault::Unauthorized { message },
            403 => KubeFault::Forbidden { verb: None, message },
            429 => KubeFault::TooMany { retry_after: None },
            500.. => KubeFault::Unavailable { message },
            _ => KubeFault::Malformed { message },
        }
    }

    pub(crate) fn from_status(status: &Status) -> Self {
        if is_page(&status.message) {
            return KubeFault::of_page(status.code);
        }
        let message = clip(&status.message, TEXT_LIMIT);
        let retry_after = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0);
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
        match (status.code, status.reason.as_str()) {
            (401, _) => KubeFault::Unauthorized { message },
            (403, _) => KubeFault::Forbidden { verb: verb_of(&status.message), message },
            (404, _) => KubeFault::NotFound { message },
            (409, _) => KubeFault::Conflict { message },
            (410, _) | (_, "Expired" | "Gone") => KubeFault::Gone,
            (429, _) => KubeFault::TooMany { retry_after },
            (400 | 405 | 406 | 413 | 415 | 422, _) => KubeFault::Invalid { message },
            (500, "Timeout" | "ServerTimeout" | "InternalError") | (502..=504, _) => {
                KubeFault::Unavailable { message }
            }
            _ => KubeFault::Other { message },
        }
    }
}

/// Whether something in front of the API server answered with a page for people.
fn is_page(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

fn pause_in_words(asked: &Option<Duration>) -> String {
    match asked {
        Some(asked) if *asked > LONGEST_PAUSE => {
            format!(" for {} s, and is asked again after {} s", asked.as_secs(), LONGEST_PAUSE.as_secs())
        }
        Some(asked) => format!(" for {} s", asked.as_secs()),
        None => String::new(),
    }
}

/// The verb in `… cannot list resource "nodes" in API group …`.
fn verb_of(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let verb = rest.split(' ').next()?;
    verb.chars().all(|c| c.is_ascii_lowercase()).then(|| clip(verb, 32))
}

impl From<kube::Error> for KubeFault {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => KubeFault::from_status(status),
            kube::Error::SerdeError(error) => KubeFault::malformed(error),
            kube::Error::FromUtf8(_) => KubeFault::Malformed { message: "it is not text".into() },
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                KubeFault::Unavailable { message: clip(&chain(&error), TEXT_LIMIT) }
            }
            _ => KubeFault::Other { message: clip(&error.to_string(), TEXT_LIMIT) },
        }
    }
}

/// The innermost cause, which is the one a person can act on ("connection refused", not "service error").
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status { code, message: message.into(), ..Status::default() }
    }

    #[test]
    fn a_forbidden_answer_names_the_verb() {
        let fault = KubeFault::from_status(&status(403, "User \"x\" cannot list resource \"nodes\""));
        assert!(
            matches!(&fault, KubeFault::Forbidden { verb: Some(verb), .. } if verb == "list"),
            "{fault:?}"
        );
        assert_eq!(fault.retry(), Retry::Slowly);
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let KubeFault::Invalid { message } = KubeFault::from_status(&status(422, &"x".repeat(100_000)))
        else {
            panic!("not Invalid");
        };
        assert_eq!(message.chars().count(), TEXT_LIMIT);
    }

    #[test]
    fn what_cannot_be_decoded_is_not_quoted() {
        let error = serde_json::from_str::<u32>("\"hunter2\"").unwrap_err();
        let fault = KubeFault::from(kube::Error::SerdeError(error));
        assert!(!format!("{fault} {fault:?}").contains("hunter2"));
    }

    #[test]
    fn a_page_for_people_is_no_word_on_whether_there_is_an_object() {
        let page = |code| KubeFault::from_status(&status(code, "\n<!DOCTYPE html><h1>hunter2</h1>"));
        assert!(matches!(page(404), KubeFault::Malformed { .. }));
        assert!(page(500).leaves_open() && page(502).leaves_open());
        assert!(matches!(page(403), KubeFault::Forbidden { .. }));
        for code in [400, 401, 403, 404, 429, 503] {
            assert!(!page(code).to_string().contains("hunter2"), "{code}");
        }
        assert!(matches!(
            KubeFault::from_status(&status(404, "404 page not found")),
            KubeFault::NotFound { .. }
        ));
    }

    #[test]
    fn an_hour_is_not_waited_and_the_words_say_so() {
        let asked = |seconds| KubeFault::TooMany { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(asked(1).retry(), Retry::After(Duration::from_secs(1)));
        assert_eq!(asked(3600).retry(), Retry::After(LONGEST_PAUSE));
        assert_eq!(
            asked(3600).to_string(),
            "the API server asks to slow down for 3600 s, and is asked again after 60 s"
        );
    }

    #[test]
    fn only_an_unanswered_write_stays_open() {
        assert!(KubeFault::Timeout(Duration::from_secs(5)).leaves_open());
        assert!(KubeFault::from_status(&status(504, "")).leaves_open());
        assert!(!KubeFault::from_status(&status(409, "")).leaves_open());
        assert!(!KubeFault::from_status(&status(422, "")).leaves_open());
    }
}
