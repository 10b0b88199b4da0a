//! Rules: which request, at which point, what happens to it. They are data, so that a case that failed is one line.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::request::{Kind, Request, Verb};

/// One rule. It fires at its occurrence and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// By which tests release it and wait for it; `rule-N` (its place in the list, from 1) if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which requests are counted.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub of: Match,
    /// At which of them it fires.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nth: Nth,
    /// Instead of both: the numbered write with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<u64>,
    /// Before the server sees the request, or after it did it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub point: Point,
    /// What happens.
    pub action: Action,
}

/// Which requests a rule counts. What is not said matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<Verb>,
    /// What the request does to the cluster. By default reads, watches and writes; writes that come by time (leases,
    /// events) only when `resource` names them, and trials never, so that they move no count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
    /// API group; the empty text is the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Plural resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Subresource; the empty text is the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// How the user agent begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What the query contains, as sent: `continue=` for a further page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// At which of the counted requests a rule fires: `"first"`, `"every"`, `3`, `{"from": 2, "to": 5}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NthForm", into = "NthForm")]
pub enum Nth {
    /// The first.
    #[default]
    First,
    /// Each.
    Every,
    /// This one; the first is 1.
    At(u64),
    /// From the one to the other, both included.
    Between(u64, u64),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum NthForm {
    Word(NthWord),
    At(u64),
    Between { from: u64, to: u64 },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NthWord {
    First,
    Every,
}

/// When the action is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Point {
    /// The server has not seen the request.
    #[default]
    Before,
    /// The server did it; the client has no answer yet.
    After,
}

/// What happens to a request. Those of watches and lists concern only these, and know no point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Action {
    /// Kills the client; nothing that it sent and we had not forwarded goes on.
    Kill,
    /// Resets the connection.
    Reset,
    /// Reads the server's answer and closes the connection, whatever the point.
    DropReply,
    /// Keeps the request, or its answer, until released or for some time. A request that was kept goes on even if its client
    /// is gone: what is on its way cannot be called back.
    Hold {
        /// For how long at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
    },
    /// Waits, then goes on.
    Delay {
        /// How long.
        ms: u64,
    },
    /// Answers so.
    Status {
        /// HTTP status code.
        code: u16,
        /// Seconds for the header Retry-After.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        /// What the body is.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
    },
    /// Watch: ends it properly.
    EndWatch {
        /// After so many events.
        #[serde(default)]
        after: u64,
    },
    /// Watch: an ERROR event 410, then the end. List: the answer 410. Clients must list again.
    Gone410 {
        /// After so many events.
        #[serde(default)]
        after: u64,
    },
    /// Watch: one event never arrives.
    DropEvent {
        /// Which of those that `of` names.
        #[serde(default = "one")]
        nth: u64,
        /// Which events are counted.
        #[serde(default, skip_serializing_if = "is_default")]
        of: Event,
    },
    /// Watch: one event arrives more than once.
    RepeatEvent {
        /// Which of those that `of` names.
        #[serde(default = "one")]
        nth: u64,
        /// Which events are counted.
        #[serde(default, skip_serializing_if = "is_default")]
        of: Event,
        /// How often it arrives in all.
        times: u64,
    },
    /// Watch: from the first such event on nothing arrives until released; then everything does, in order.
    HoldEvents {
        /// Which event begins it; without it whatever comes first, bookmarks included.
        #[serde(default, skip_serializing_if = "is_default")]
        of: Event,
    },
    /// Watch: one event arrives after the one that follows it.
    SwapEvents {
        /// Which of those that `of` names.
        #[serde(default = "one")]
        nth: u64,
        /// Which events are counted.
        #[serde(default, skip_serializing_if = "is_default")]
        of: Event,
    },
    /// Watch: stays open and delivers nothing, bookmarks included, even if the server ends it. A release ends it.
    Silent {
        /// After so many events.
        #[serde(default)]
        after: u64,
    },
    /// List: an older answer to the same list that went through this proxy. Does not fire while there is none.
    StaleList {
        /// Which of the recorded answers that differ; the first is 1.
        #[serde(default = "one_answer")]
        answer: usize,
    },
}

/// The body of an answer that a rule makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A Status object with the reason that belongs to the code.
    #[default]
    Standard,
    /// What a load balancer says.
    Html,
    /// JSON that ends in the middle: the server's answer after it, a Status object before it.
    Truncated,
    /// No byte.
    Empty,
    /// Says that it is compressed and is not.
    BrokenGzip,
}

/// Which events of a watch are counted. Bookmarks never are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// ADDED, MODIFIED or DELETED.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The object's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Rule {
    /// Fires at the first request that matches.
    pub fn on(of: Match, action: Action) -> Rule {
        Rule { name: None, of, nth: Nth::First, write: None, point: Point::Before, action }
    }

    /// Fires at the write with this number.
    pub fn at_write(number: u64, action: Action) -> Rule {
        Rule { write: Some(number), ..Rule::on(Match::default(), action) }
    }

    /// The same, after the server did it.
    pub fn after(self) -> Rule {
        Rule { point: Point::After, ..self }
    }

    /// The same, at other occurrences.
    pub fn nth(self, nth: Nth) -> Rule {
        Rule { nth, ..self }
    }

    /// The same under a name.
    pub fn named(self, name: &str) -> Rule {
        Rule { name: Some(name.to_owned()), ..self }
    }

    /// The rule as one line, as it can be replayed.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a rule has only texts as keys")
    }

    /// Whether the request is one that this rule counts. `number` is the request's number among the writes.
    pub(super) fn counts(&self, request: &Request, number: Option<u64>) -> bool {
        if !self.action.concerns(request.verb) {
            return false;
        }
        match self.write {
            Some(write) => request.kind == Kind::Write && number == Some(write),
            None => self.of.includes(request),
        }
    }

    /// Refuses what could never fire or means two things.
    fn check(&self) -> Result<()> {
        if self.write.is_some() {
            ensure!(self.of == Match::default(), "`write` takes the place of `match`");
            ensure!(self.nth == Nth::First, "`write` takes the place of `nth`");
            ensure!(self.write != Some(0), "the first write is 1");
            ensure!(
                self.action.concerns(Verb::Apply),
                "a write has no {:?}: that is for watches or lists",
                self.action
            );
        }
        match self.nth {
            Nth::At(0) | Nth::Between(0, _) => bail!("the first occurrence is 1"),
            Nth::Between(from, to) => ensure!(from <= to, "the range from {from} to {to} is empty"),
            Nth::First | Nth::Every | Nth::At(_) => {}
        }
        match &self.action {
            Action::Status { code, .. } => {
                ensure!((200..600).contains(code), "{code} is no status of an answer");
            }
            Action::DropEvent { nth, .. } | Action::SwapEvents { nth, .. } => {
                ensure!(*nth > 0, "the first event is 1");
            }
            Action::RepeatEvent { nth, times, .. } => {
                ensure!(*nth > 0, "the first event is 1");
                ensure!(*times > 1, "an event that arrives {times} times is not repeated");
            }
            Action::StaleList { answer } => ensure!(*answer > 0, "the first answer is 1"),
            Action::Kill
            | Action::Reset
            | Action::DropReply
            | Action::Hold { .. }
            | Action::Delay { .. }
            | Action::EndWatch { .. }
            | Action::Gone410 { .. }
            | Action::HoldEvents { .. }
            | Action::Silent { .. } => {}
        }
        Ok(())
    }
}

impl Match {
    /// Requests with this verb for this resource.
    pub fn of(verb: Verb, resource: &str) -> Match {
        Match { verb: Some(verb), resource: Some(resource.to_owned()), ..Match::default() }
    }

    /// Everything of these kinds.
    pub fn kinds(kinds: &[Kind]) -> Match {
        Match { kinds: Some(kinds.to_vec()), ..Match::default() }
    }

    fn includes(&self, request: &Request) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let kind = match &self.kinds {
            Some(kinds) => kinds.contains(&request.kind),
            None => match request.kind {
                Kind::Read | Kind::Watch | Kind::Write => true,
                Kind::Timed => self.resource.is_some(),
                Kind::Trial => false,
            },
        };
        kind && self.verb.is_none_or(|verb| verb == request.verb)
            && is(&self.group, &request.group)
            && is(&self.resource, &request.resource)
            && is(&self.namespace, &request.namespace)
            && is(&self.name, &request.name)
            && is(&self.subresource, &request.subresource)
            && self.user_agent.as_ref().is_none_or(|start| request.user_agent.starts_with(start))
            && self.query.as_ref().is_none_or(|part| request.query.contains(part))
    }
}

impl Nth {
    /// Whether the occurrence with this number is one of them.
    pub(super) fn includes(self, number: u64) -> bool {
        match self {
            Nth::First => number == 1,
            Nth::Every => true,
            Nth::At(wanted) => number == wanted,
            Nth::Between(from, to) => (from..=to).contains(&number),
        }
    }

    /// Whether nothing is left to come after so many occurrences.
    pub(super) fn is_over_after(self, count: u64) -> bool {
        match self {
            Nth::First => count >= 1,
            Nth::Every => false,
            Nth::At(last) | Nth::Between(_, last) => count >= last,
        }
    }
}

impl Action {
    /// Whether requests with this verb can have it.
    fn concerns(&self, verb: Verb) -> bool {
        match self {
            Action::StaleList { .. } => verb == Verb::List,
            Action::Gone410 { .. } => matches!(verb, Verb::List | Verb::Watch),
            _ if self.is_of_streams() => verb == Verb::Watch,
            _ => true,
        }
    }

    /// Whether it concerns what a watch delivers. Such a rule counts watches that are open when it is set, too.
    pub(super) fn is_of_streams(&self) -> bool {
        matches!(
            self,
            Action::EndWatch { .. }
                | Action::Gone410 { .. }
                | Action::DropEvent { .. }
                | Action::RepeatEvent { .. }
                | Action::HoldEvents { .. }
                | Action::SwapEvents { .. }
                | Action::Silent { .. }
        )
    }
}

impl From<NthForm> for Nth {
    fn from(form: NthForm) -> Nth {
        match form {
            NthForm::Word(NthWord::First) => Nth::First,
            NthForm::Word(NthWord::Every) => Nth::Every,
            NthForm::At(number) => Nth::At(number),
            NthForm::Between { from, to } => Nth::Between(from, to),
        }
    }
}

impl From<Nth> for NthForm {
    fn from(nth: Nth) -> NthForm {
        match nth {
            Nth::First => NthForm::Word(NthWord::First),
            Nth::Every => NthForm::Word(NthWord::Every),
            Nth::At(number) => NthForm::At(number),
            Nth::Between(from, to) => NthForm::Between { from, to },
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

/// Reads rules: one, or a list of them.
pub fn parse(text: &str) -> Result<Vec<Rule>> {
    let rules = if text.trim_start().starts_with('{') {
        vec![serde_json::from_str(text)?]
    } else {
        serde_json::from_str(text)?
    };
    check(&rules)?;
    Ok(rules)
}

/// Refuses rules of which one could never fire, or that two share a name.
pub(super) fn check(rules: &[Rule]) -> Result<()> {
    let mut names = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        rule.check().with_context(|| format!("the rule {rule} makes no sense"))?;
        let name = label(index, rule);
        ensure!(!names.contains(&name), "two rules are called {name}");
        names.push(name);
    }
    Ok(())
}

/// The rule's name, or its place.
pub(super) fn label(index: usize, rule: &Rule) -> String {
    rule.name.clone().unwrap_or_else(|| format!("rule-{}", index + 1))
}

fn one() -> u64 {
    1
}

fn one_answer() -> usize {
    1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_same_after_a_line() {
        let rules = [
            Rule::at_write(7, Action::Kill).after(),
            Rule::on(
                Match::of(Verb::Apply, "configmaps"),
                Action::Status { code: 429, retry_after: Some(3), body: Body::Standard },
            )
            .nth(Nth::Between(2, 5))
            .named("slow"),
            Rule::on(Match::default(), Action::Hold { ms: None }).nth(Nth::Every),
            Rule::on(
                Match::of(Verb::Watch, "secrets"),
                Action::DropEvent {
                    nth: 2,
                    of: Event { kind: Some("DELETED".to_owned()), ..Event::default() },
                },
            ),
        ];
        let line = serde_json::to_string(&rules).unwrap();

        assert_eq!(parse(&line).unwrap(), rules);
        assert_eq!(parse(&rules[0].line()).unwrap(), rules[..1]);
    }

    #[test]
    fn the_forms_that_the_readme_shows_are_read() {
        let rules = parse(
            r#"[{"write": 3, "action": "Kill"},
                {"match": {"verb": "apply", "resource": "daemonsets"}, "nth": 2, "point": "After", "action": "DropReply"},
                {"match": {"kinds": ["Write", "Timed"]}, "nth": "every", "action": {"Status": {"code": 503}}},
                {"match": {"resource": "secrets"}, "nth": {"from": 1, "to": 2}, "action": {"HoldEvents": {}}}]"#,
        )
        .unwrap();

        assert_eq!(rules[0], Rule::at_write(3, Action::Kill));
        assert_eq!((rules[1].nth, rules[1].point), (Nth::At(2), Point::After));
        assert_eq!(rules[2].nth, Nth::Every);
        assert_eq!(rules[3].nth, Nth::Between(1, 2));
    }

    #[test]
    fn what_could_never_fire_is_refused() {
        for (line, why) in [
            (r#"{"action": "Kil"}"#, "unknown variant"),
            (r#"{"verb": "get", "action": "Kill"}"#, "unknown field"),
            (r#"{"match": {"verbs": "get"}, "action": "Kill"}"#, "unknown field"),
            (r#"{"nth": 0, "action": "Kill"}"#, "the first occurrence is 1"),
            (r#"{"nth": {"from": 3, "to": 2}, "action": "Kill"}"#, "empty"),
            (r#"{"write": 1, "nth": 2, "action": "Kill"}"#, "takes the place of `nth`"),
            (r#"{"write": 1, "action": {"StaleList": {}}}"#, "for watches or lists"),
            (r#"{"action": {"Status": {"code": 101}}}"#, "no status of an answer"),
            (r#"[{"name": "a", "action": "Kill"}, {"name": "a", "action": "Kill"}]"#, "two rules"),
        ] {
            let refused = format!("{:#}", parse(line).unwrap_err());

            assert!(refused.contains(why), "{line}: {refused}");
        }
    }
}
