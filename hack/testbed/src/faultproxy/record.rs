//! What the proxy remembers of each request, and the lines of its log: one for a request, one for what became of it.
//!
//! **Invariant:** neither holds a header other than the user agent, or anything of a body but the name of an object to
//! create. So no password and no token can get into them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::request::Request;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its place among all requests, from 1.
    pub id: u64,
    /// The connection that it came on.
    pub connection: u64,
    /// When it was complete.
    pub at: Timestamp,
    /// Its place among the writes, from 1, or among the writes that come by time. Others have none.
    pub number: Option<u64>,
    /// What was asked for.
    pub request: Request,
    /// The rules that fired at it, by name.
    pub rules: Vec<String>,
    /// What the server knows of it.
    pub server: Server,
    /// The status that the client was given.
    pub given: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// What a watch delivered.
    pub events: Events,
}

/// What the server knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Server {
    /// Nothing.
    NotAsked,
    /// It was sent; there is no answer.
    Asked,
    /// The status of its answer.
    Answered(u16),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// It did not end yet.
    Open,
    /// The client has the server's answer; of a watch, to its end.
    Answered,
    /// A rule answered.
    Made,
    /// A rule ended the watch.
    Ended,
    /// A rule closed the connection.
    Dropped,
    /// A rule reset the connection.
    Reset,
    /// A rule killed the client.
    Killed,
    /// It came from a client that a rule had killed: it was not looked at.
    FromTheDead,
    /// The client went away first.
    ClientGone,
    /// The proxy could not do its part.
    Failed(String),
}

/// Events of a watch; bookmarks are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Sent by the server.
    pub sent: u64,
    /// Given to the client.
    pub delivered: u64,
    /// Kept by a rule for now.
    pub held: u64,
}

/// The file with the lines, if there is one.
pub(super) struct Log(Option<File>);

impl Log {
    pub(super) fn open(path: Option<&Path>) -> Result<Log> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("failed to open {}", path.display()))
        };
        Ok(Log(path.map(open).transpose()?))
    }

    pub(super) fn request(&mut self, record: &Record) {
        #[derive(Serialize)]
        struct Line<'a> {
            line: &'static str,
            id: u64,
            at: Timestamp,
            connection: u64,
            number: Option<u64>,
            #[serde(flatten)]
            request: &'a Request,
        }
        let Record { id, connection, at, number, request, .. } = record;
        self.write(&Line {
            line: "request",
            id: *id,
            at: *at,
            connection: *connection,
            number: *number,
            request,
        });
    }

    pub(super) fn outcome(&mut self, record: &Record) {
        #[derive(Serialize)]
        struct Line<'a> {
            line: &'static str,
            id: u64,
            at: Timestamp,
            outcome: &'a Outcome,
            server: Server,
            given: Option<u16>,
            rules: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            events: Option<Events>,
        }
        let Record { id, outcome, server, given, rules, events, .. } = record;
        let events = (*events != Events::default()).then_some(*events);
        self.write(&Line {
            line: "outcome",
            id: *id,
            at: Timestamp::now(),
            outcome,
            server: *server,
            given: *given,
            rules,
            events,
        });
    }

    /// A log that cannot be written is no reason to fail the request that it is about.
    fn write(&mut self, line: &impl Serialize) {
        let Some(file) = &mut self.0 else { return };
        let written = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            file.write_all(&text)
        });
        if let Err(fault) = written {
            eprintln!("fault proxy: failed to write the log: {fault}");
        }
    }
}
