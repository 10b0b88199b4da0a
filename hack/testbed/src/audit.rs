//! The API server's audit log as rows: the independent record from which tests count requests.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// Who asked; `system:serviceaccount:NAMESPACE:NAME` for pods. Under impersonation, who was impersonated.
    pub user: String,
    /// The client's own name for itself.
    pub user_agent: String,
    /// API group; empty for the core group and for paths that are no resource.
    pub group: String,
    /// Plural resource; empty for paths such as `/readyz`.
    pub resource: String,
    /// status, scale, token, …
    pub subresource: String,
    /// Namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// Object name; empty for lists and plain creates.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// HTTP status code.
    pub code: u16,
    /// ResponseStarted (a watch begins) or ResponseComplete.
    pub stage: String,
    /// When the request arrived.
    pub received: Timestamp,
    /// When the stage was reached.
    pub stage_timestamp: Timestamp,
}

impl Request {
    /// Whether it could change an object. Reviews and token requests are creates that change nothing.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !matches!(self.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io")
            && self.subresource != "token"
    }

    /// Whether it was a trial: strict validation without a change.
    pub fn is_dry_run(&self) -> bool {
        self.uri.contains("dryRun=All")
    }

    /// Whether it touched this object.
    pub fn names(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource && self.namespace == namespace && self.name == name
    }
}

/// All rows of a log so far, in the order of their stage.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    /// The rows.
    pub requests: Vec<Request>,
}

impl AuditLog {
    /// Reads the log. A line that is being written is left for the next reading.
    pub fn read(path: &Path) -> Result<AuditLog> {
        AuditLog::read_lines(path, "")
    }

    /// Reads only the lines with this text in them: the log of a big cluster fills gigabytes.
    pub fn read_lines(path: &Path, with: &str) -> Result<AuditLog> {
        let file = fs::File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut reader = BufReader::new(file);
        let (mut line, mut number, mut requests) = (Vec::new(), 0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            number += 1;
            let text = String::from_utf8_lossy(&line);
            if text.contains(with) {
                requests.push(numbered(number, &text)?);
            }
            line.clear();
        }
        Ok(AuditLog { requests })
    }

    /// Parses complete lines.
    pub fn parse(text: &str) -> Result<AuditLog> {
        let requests = text
            .lines()
            .enumerate()
            .map(|(number, line)| numbered(number + 1, line))
            .collect::<Result<_>>()?;
        Ok(AuditLog { requests })
    }

    /// The rows that `keep` accepts.
    pub fn filter(&self, keep: impl Fn(&Request) -> bool) -> AuditLog {
        AuditLog { requests: self.requests.iter().filter(|request| keep(request)).cloned().collect() }
    }

    /// Requests of one ServiceAccount.
    pub fn by_account(&self, namespace: &str, name: &str) -> AuditLog {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.filter(|request| request.user == user)
    }

    /// Requests whose user agent begins so.
    pub fn by_agent(&self, prefix: &str) -> AuditLog {
        self.filter(|request| request.user_agent.starts_with(prefix))
    }

    /// Requests that arrived after a moment.
    pub fn since(&self, moment: Timestamp) -> AuditLog {
        self.filter(|request| request.received >= moment)
    }

    /// Requests that could change an object and were accepted.
    pub fn accepted_writes(&self) -> AuditLog {
        self.filter(|request| request.is_write() && !request.is_dry_run() && request.code < 300)
    }

    /// Requests that were refused for want of a right.
    pub fn forbidden(&self) -> AuditLog {
        self.filter(|request| request.code == 403)
    }

    /// Answered requests: a watch has two rows (its begin and its end) and counts once, by its begin.
    pub fn count(&self) -> usize {
        self.requests
            .iter()
            .filter(|request| (request.verb == "watch") == (request.stage == "ResponseStarted"))
            .count()
    }

    /// No rows.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

fn numbered(number: usize, line: &str) -> Result<Request> {
    row(line).with_context(|| format!("line {number} of the audit log"))
}

fn row(line: &str) -> Result<Request> {
    let event: Value = serde_json::from_str(line)?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let user = match text("/impersonatedUser/username") {
        own if own.is_empty() => text("/user/username"),
        impersonated => impersonated,
    };
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
    Ok(Request {
        verb: text("/verb"),
        user,
        user_agent: text("/userAgent"),
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        uri: text("/requestURI"),
        code: u16::try_from(code).context("an impossible status code")?,
        stage: text("/stage"),
        received: text("/requestReceivedTimestamp").parse().context("requestReceivedTimestamp")?,
        stage_timestamp: text("/stageTimestamp").parse().context("stageTimestamp")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/nodes/node-1","verb":"patch","user":{"username":"system:serviceaccount:kube-system:cpi"},"userAgent":"cpi/1.36","objectRef":{"resource":"nodes","name":"node-1","apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.100000Z"}"#;
    const WATCH: &str = r#"{"stage":"ResponseStarted","requestURI":"/api/v1/nodes?watch=1","verb":"watch","user":{"username":"admin"},"impersonatedUser":{"username":"jane"},"objectRef":{"resource":"nodes","apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:06.000000Z","stageTimestamp":"2026-01-02T03:04:06.100000Z"}"#;

    fn log() -> AuditLog {
        let ended = WATCH.replace("ResponseStarted", "ResponseComplete");
        AuditLog::parse(&format!("{PATCH}\n{WATCH}\n{ended}\n")).unwrap()
    }

    #[test]
    fn a_watch_counts_once() {
        assert_eq!(log().count(), 2);
    }

    #[test]
    fn an_account_is_told_by_its_user() {
        let found = log().by_account("kube-system", "cpi");

        assert_eq!(found.count(), 1);
        assert!(found.requests[0].names("nodes", "", "node-1"));
        assert_eq!(found.accepted_writes().count(), 1);
    }

    #[test]
    fn an_impersonated_user_is_the_one_that_counts() {
        assert_eq!(log().filter(|request| request.user == "jane").count(), 1);
    }

    #[test]
    fn half_a_line_waits_for_the_next_reading() {
        let folder = std::env::temp_dir().join(format!("testbed-audit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("audit.log");
        fs::write(&file, format!("{PATCH}\n{{\"stage\":\"Resp")).unwrap();

        let (read, found) = (AuditLog::read(&file), AuditLog::read_lines(&file, "kube-system:cpi"));
        let none = AuditLog::read_lines(&file, "kube-system:csi");
        fs::remove_dir_all(&folder).unwrap();

        assert_eq!(read.unwrap().count(), 1);
        assert_eq!(found.unwrap().count(), 1);
        assert!(none.unwrap().is_empty());
    }
}
