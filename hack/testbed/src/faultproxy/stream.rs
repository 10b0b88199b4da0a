//! What happens to the lines of one watch.
//!
//! [`Script`] decides line by line and touches nothing; [`pump`] reads from the server, asks it, and writes to the client.
//! Rules act in the order of their list: what one lets through is what the next one sees.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::answer::gone_event;
use super::record::{Events, Outcome};
use super::rule::{Action, Event};
use super::state::{Shared, Step};

/// One line of a watch.
#[derive(Debug, Clone)]
pub(super) struct Line {
    bytes: Bytes,
    /// Type, namespace and name; `None` for what is no event.
    event: Option<(String, String, String)>,
}

/// Rules at work on one watch.
#[derive(Default)]
pub(super) struct Script {
    stages: Vec<Stage>,
    /// The server's end, which some rules hide.
    server_ended: bool,
}

/// Why a watch is over for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server ended it.
    ByServer,
    /// A rule did.
    ByRule,
}

/// What the client is given next.
#[derive(Default)]
pub(super) struct Given {
    pub(super) lines: Vec<Line>,
    /// Steps that acted.
    pub(super) fired: Vec<u64>,
    pub(super) over: Option<End>,
}

struct Stage {
    step: Step,
    /// Events that counted for this rule.
    seen: u64,
    work: Work,
}

enum Work {
    /// Waits for its event.
    Waits,
    /// Keeps lines until released.
    Holds(VecDeque<Line>),
    /// Keeps lines until the next event.
    Swaps(Vec<Line>),
    /// Swallows everything.
    Swallows,
    /// Did what it had to do.
    Done,
}

impl Line {
    pub(super) fn new(bytes: Bytes) -> Line {
        #[derive(Deserialize)]
        struct Watched {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            object: Object,
        }
        #[derive(Default, Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: Metadata,
        }
        #[derive(Default, Deserialize)]
        struct Metadata {
            #[serde(default)]
            namespace: String,
            #[serde(default)]
            name: String,
        }
        let read: Option<Watched> = serde_json::from_slice(&bytes).ok();
        let event = read
            .filter(|watched| watched.kind != "BOOKMARK")
            .map(|watched| (watched.kind, watched.object.metadata.namespace, watched.object.metadata.name));
        Line { bytes, event }
    }

    fn is(&self, wanted: &Event) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|text| text == found);
        self.event.as_ref().is_some_and(|(kind, namespace, name)| {
            fits(&wanted.kind, kind) && fits(&wanted.namespace, namespace) && fits(&wanted.name, name)
        })
    }
}

impl Script {
    /// A rule begins to act; some do so at once.
    pub(super) fn add(&mut self, step: Step) -> Given {
        let mut given = Given::default();
        if !step.is_released() {
            let mut stage = Stage { step, seen: 0, work: Work::Waits };
            let mut lines = Vec::new();
            stage.reached(&mut lines, &mut given);
            self.stages.push(stage);
            given.lines = lines;
        }
        self.finish(given)
    }

    /// The server sent a line.
    pub(super) fn feed(&mut self, line: Line) -> Given {
        let mut given = Given::default();
        self.pass(0, line, &mut given);
        self.finish(given)
    }

    /// Rules may have been released: what they keep goes on, and they are gone.
    pub(super) fn release(&mut self) -> Given {
        let mut given = Given::default();
        let mut index = 0;
        while index < self.stages.len() {
            if !self.stages[index].step.is_released() {
                index += 1;
                continue;
            }
            match self.stages.remove(index).work {
                Work::Holds(lines) => lines.into_iter().for_each(|line| self.pass(index, line, &mut given)),
                Work::Swaps(lines) => lines.into_iter().for_each(|line| self.pass(index, line, &mut given)),
                // The client missed what was swallowed: it must begin again where it stands.
                Work::Swallows => given.over = Some(End::ByRule),
                Work::Waits | Work::Done => {}
            }
        }
        self.finish(given)
    }

    /// The server ended the watch. Whatever waits for a next event goes on; what is held stays until released.
    pub(super) fn end(&mut self) -> Given {
        self.server_ended = true;
        let mut given = Given::default();
        for index in 0..self.stages.len() {
            if let Work::Swaps(lines) = &mut self.stages[index].work {
                let lines = std::mem::take(lines);
                self.stages[index].work = Work::Done;
                lines.into_iter().for_each(|line| self.pass(index + 1, line, &mut given));
            }
        }
        self.finish(given)
    }

    /// How many events are kept back at the moment.
    pub(super) fn held(&self) -> u64 {
        let count = |line: &&Line| line.event.is_some();
        let kept = self.stages.iter().map(|stage| match &stage.work {
            Work::Holds(lines) => lines.iter().filter(count).count(),
            Work::Swaps(lines) => lines.iter().filter(count).count(),
            Work::Waits | Work::Swallows | Work::Done => 0,
        });
        kept.sum::<usize>() as u64
    }

    /// The rules that keep lines back until released.
    pub(super) fn holders(&self) -> Vec<u64> {
        let holds = |stage: &&Stage| matches!(stage.work, Work::Holds(_) | Work::Swallows);
        self.stages.iter().filter(holds).map(|stage| stage.step.id()).collect()
    }

    fn pass(&mut self, from: usize, line: Line, given: &mut Given) {
        let mut lines = vec![line];
        for stage in &mut self.stages[from..] {
            let mut next = Vec::new();
            for line in lines {
                if given.over.is_none() {
                    stage.feed(line, &mut next, given);
                }
            }
            lines = next;
        }
        given.lines.extend(lines);
    }

    fn finish(&self, mut given: Given) -> Given {
        let hidden = self.stages.iter().any(|stage| matches!(stage.work, Work::Holds(_) | Work::Swallows));
        if given.over.is_none() && self.server_ended && !hidden {
            given.over = Some(End::ByServer);
        }
        given
    }
}

impl Stage {
    fn feed(&mut self, line: Line, next: &mut Vec<Line>, given: &mut Given) {
        match &mut self.work {
            Work::Done => return next.push(line),
            Work::Swallows => return,
            Work::Holds(lines) => return lines.push_back(line),
            Work::Swaps(lines) => {
                if line.event.is_some() {
                    next.push(line);
                    next.append(lines);
                    self.work = Work::Done;
                    given.fired.push(self.step.id());
                } else {
                    lines.push(line);
                }
                return;
            }
            Work::Waits => {}
        }
        let counts = match &self.step.action {
            Action::HoldEvents { of } if *of == Event::default() => true,
            Action::HoldEvents { of }
            | Action::DropEvent { of, .. }
            | Action::RepeatEvent { of, .. }
            | Action::SwapEvents { of, .. } => line.is(of),
            _ => line.event.is_some(),
        };
        if !counts {
            return next.push(line);
        }
        self.seen += 1;
        let seen = self.seen;
        match &self.step.action {
            Action::HoldEvents { .. } => self.work = Work::Holds(VecDeque::from([line])),
            Action::SwapEvents { nth, .. } if seen == *nth => {
                self.work = Work::Swaps(vec![line]);
                // It fires when the next event comes.
                return;
            }
            Action::DropEvent { nth, .. } if seen == *nth => self.work = Work::Done,
            Action::RepeatEvent { nth, times, .. } if seen == *nth => {
                next.extend((0..*times).map(|_| line.clone()));
                self.work = Work::Done;
            }
            _ => {
                next.push(line);
                return self.reached(next, given);
            }
        }
        given.fired.push(self.step.id());
    }

    /// Rules that act after so many events look whether these have passed.
    fn reached(&mut self, next: &mut Vec<Line>, given: &mut Given) {
        let (Action::EndWatch { after } | Action::Gone410 { after } | Action::Silent { after }) =
            &self.step.action
        else {
            return;
        };
        if self.seen < *after {
            return;
        }
        match &self.step.action {
            Action::Silent { .. } => self.work = Work::Swallows,
            action => {
                if matches!(action, Action::Gone410 { .. }) {
                    next.push(Line { bytes: gone_event(), event: None });
                }
                self.work = Work::Done;
                given.over = Some(End::ByRule);
            }
        }
        given.fired.push(self.step.id());
    }
}

/// Carries a watch to its end.
pub(super) async fn pump(
    shared: Arc<Shared>,
    request: u64,
    first: Vec<Step>,
    mut later: mpsc::UnboundedReceiver<Step>,
    mut server: Incoming,
    client: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut script = Script::default();
    let mut moved = shared.moved();
    let mut begun = BytesMut::new();
    let mut holders = Vec::new();
    let mut broken = None;
    let mut turns: VecDeque<Turn> = first.into_iter().map(Turn::Add).collect();
    let outcome = loop {
        let turn = match turns.pop_front() {
            Some(turn) => turn,
            None => tokio::select! {
                biased;
                () = client.closed() => break Outcome::ClientGone,
                Some(step) = later.recv() => {
                    // A new rule comes after the old ones were released, and acts on nothing that these held.
                    turns.push_back(Turn::Add(step));
                    Turn::Release
                }
                Ok(()) = moved.changed() => Turn::Release,
                frame = server.frame(), if !script.server_ended => match frame {
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            begun.extend_from_slice(&bytes);
                            while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                                turns.push_back(Turn::Feed(Line::new(begun.split_to(end + 1).freeze())));
                            }
                        }
                        continue;
                    }
                    Some(Err(fault)) => {
                        broken = Some(fault.to_string());
                        Turn::End
                    }
                    None if begun.is_empty() => Turn::End,
                    None => Turn::Feed(Line::new(begun.split().freeze())),
                },
            },
        };
        let sent = u64::from(matches!(&turn, Turn::Feed(line) if line.event.is_some()));
        let given = match turn {
            Turn::Add(step) => script.add(step),
            Turn::Feed(line) => script.feed(line),
            Turn::Release => script.release(),
            Turn::End => script.end(),
        };
        given.fired.iter().for_each(|step| shared.fired(request, *step));
        report_holders(&shared, &mut holders, script.holders());
        let delivered = given.lines.iter().filter(|line| line.event.is_some()).count() as u64;
        let mut gone = false;
        for line in given.lines {
            gone |= client.send(Ok(line.bytes)).await.is_err();
        }
        shared.update(request, |record| {
            let Events { sent: before, delivered: given, .. } = record.events;
            record.events = Events { sent: before + sent, delivered: given + delivered, held: script.held() };
        });
        match given.over {
            _ if gone => break Outcome::ClientGone,
            None => {}
            Some(End::ByRule) => break Outcome::Ended,
            Some(End::ByServer) => match broken {
                // The client must see a broken stream where there was one.
                Some(fault) => {
                    client.send(Err(io::Error::other(fault.clone()))).await.ok();
                    break Outcome::Failed(format!("the server's stream broke: {fault}"));
                }
                None => break Outcome::Answered,
            },
        }
    };
    report_holders(&shared, &mut holders, Vec::new());
    shared.end(request, outcome);
}

enum Turn {
    Add(Step),
    Feed(Line),
    Release,
    End,
}

fn report_holders(shared: &Shared, before: &mut Vec<u64>, now: Vec<u64>) {
    for step in before.iter().filter(|step| !now.contains(step)) {
        shared.holds(*step, |holds| *holds -= 1);
    }
    for step in now.iter().filter(|step| !before.contains(step)) {
        shared.holds(*step, |holds| *holds += 1);
    }
    *before = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, name: &str) -> Line {
        Line::new(
            format!("{{\"type\":\"{kind}\",\"object\":{{\"metadata\":{{\"name\":\"{name}\"}}}}}}\n").into(),
        )
    }

    /// What arrives of these events (and bookmarks, called `B`), by name.
    fn arrives(script: &mut Script, names: &[&str]) -> Vec<String> {
        let mut arrived = Vec::new();
        for name in names {
            let kind = if *name == "B" { "BOOKMARK" } else { "ADDED" };
            arrived.extend(shown(script.feed(line(kind, name))));
        }
        arrived
    }

    fn shown(given: Given) -> Vec<String> {
        let name = |line: Line| match line.event {
            Some((_, _, name)) => name,
            None if line.bytes.starts_with(b"{\"type\":\"BOOKMARK\"") => "B".to_owned(),
            None => "ERROR".to_owned(),
        };
        let mut shown: Vec<String> = given.lines.into_iter().map(name).collect();
        shown.extend(given.over.map(|end| format!("{end:?}")));
        shown
    }

    fn script(actions: Vec<Action>) -> (Script, Vec<Step>) {
        let mut script = Script::default();
        let steps: Vec<Step> =
            actions.into_iter().zip(1..).map(|(action, id)| Step::new(id, action)).collect();
        for step in &steps {
            script.add(step.clone());
        }
        (script, steps)
    }

    #[test]
    fn one_event_is_dropped_and_bookmarks_are_not_counted() {
        let (mut script, _) = script(vec![Action::DropEvent { nth: 2, of: Event::default() }]);

        assert_eq!(arrives(&mut script, &["a", "B", "b", "c"]), ["a", "B", "c"]);
    }

    #[test]
    fn an_event_changes_places_with_the_next_one_and_bookmarks_stay_behind_both() {
        let (mut script, _) = script(vec![Action::SwapEvents { nth: 1, of: Event::default() }]);

        assert_eq!(arrives(&mut script, &["a", "B", "b", "c"]), ["b", "a", "B", "c"]);
    }

    #[test]
    fn an_event_that_waits_for_a_next_one_arrives_when_the_server_ends_the_watch() {
        let (mut script, _) = script(vec![Action::SwapEvents { nth: 1, of: Event::default() }]);

        assert_eq!(arrives(&mut script, &["a"]), [""; 0]);
        let given = script.end();

        assert!(given.fired.is_empty(), "nothing changed places");
        assert_eq!(shown(given), ["a", "ByServer"]);
    }

    #[test]
    fn what_is_held_arrives_in_order_when_released_and_the_end_waits_for_it() {
        let of = Event { name: Some("b".to_owned()), ..Event::default() };
        let (mut script, steps) = script(vec![Action::HoldEvents { of }]);

        assert_eq!(arrives(&mut script, &["a", "b", "B", "c"]), ["a"]);
        assert_eq!(script.held(), 2);
        assert_eq!(shown(script.end()), [""; 0]);
        steps[0].release();

        assert_eq!(shown(script.release()), ["b", "B", "c", "ByServer"]);
    }

    #[test]
    fn a_rule_behind_one_that_holds_sees_what_is_released() {
        let hold = Action::HoldEvents { of: Event::default() };
        let (mut script, steps) = script(vec![hold, Action::DropEvent { nth: 2, of: Event::default() }]);
        arrives(&mut script, &["a", "b", "c"]);
        steps[0].release();

        assert_eq!(shown(script.release()), ["a", "c"]);
    }

    #[test]
    fn a_watch_is_gone_after_so_many_events_and_nothing_follows() {
        let (mut script, _) = script(vec![Action::Gone410 { after: 1 }]);

        assert_eq!(arrives(&mut script, &["B", "a"]), ["B", "a", "ERROR", "ByRule"]);
    }

    #[test]
    fn a_silent_watch_swallows_bookmarks_and_the_end_and_a_release_ends_it() {
        let (mut script, steps) = script(vec![Action::Silent { after: 1 }]);

        assert_eq!(arrives(&mut script, &["a", "b", "B"]), ["a"]);
        assert_eq!(shown(script.end()), [""; 0]);
        steps[0].release();

        assert_eq!(shown(script.release()), ["ByRule"]);
    }

    #[test]
    fn an_event_is_repeated() {
        let (mut script, _) = script(vec![Action::RepeatEvent { nth: 2, of: Event::default(), times: 3 }]);

        assert_eq!(arrives(&mut script, &["a", "b", "c"]), ["a", "b", "b", "b", "c"]);
    }
}
