//! The fault proxy, between a client and a small server on loopback: each action at each point. No bed is needed.

#![allow(clippy::unwrap_used)]

#[path = "faultproxy/killing.rs"]
mod killing;
#[path = "faultproxy/support.rs"]
mod support;
#[path = "faultproxy/watches.rs"]
mod watches;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use support::{Client, LEASE, MAPS, PASSWORD, Place, SOON, TOKEN, request};
use testbed::faultproxy::{
    Action, Body, FaultProxy, Kind, Match, Nth, Outcome, Record, Rule, Server, Settings, Verb, parse,
};

#[test]
fn writes_are_numbered_and_what_changes_nothing_or_comes_by_time_is_not() {
    let place = Place::new("numbers", Vec::new());
    let mut client = place.client();
    for (method, path) in [
        ("GET", MAPS),
        ("POST", MAPS),
        ("PATCH", LEASE),
        ("PATCH", "/api/v1/namespaces/vdo/configmaps/a?dryRun=All"),
        ("PATCH", "/api/v1/namespaces/vdo/configmaps/a"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/vdo/events"),
        ("DELETE", "/api/v1/namespaces/vdo/configmaps/a"),
    ] {
        assert!(client.send(method, path).is_ok(), "{method} {path}");
    }

    let writes = place.proxy.writes();
    let shown: Vec<_> =
        writes.iter().map(|write| (write.number, write.request.verb, write.request.name.as_str())).collect();
    assert_eq!(
        shown,
        [(Some(1), Verb::Create, "a"), (Some(2), Verb::Apply, "a"), (Some(3), Verb::Delete, "a")]
    );
    let timed: Vec<_> = place
        .proxy
        .records()
        .into_iter()
        .filter(|record| record.request.kind == Kind::Timed)
        .map(|record| (record.number, record.request.resource))
        .collect();
    assert_eq!(timed, [(Some(1), "leases".to_owned()), (Some(2), "events".to_owned())]);
    assert!(place.proxy.records().iter().all(|record| record.outcome == Outcome::Answered));
}

#[test]
fn the_client_s_own_credentials_reach_the_server_and_no_log() {
    let place = Place::new("credentials", vec![Rule::at_write(1, Action::Delay { ms: 1 })]);
    let mut client = place.client();
    let secret = client.send("GET", "/api/v1/namespaces/vdo/secrets/a").unwrap();
    let written = client.send("POST", "/api/v1/namespaces/vdo/secrets").unwrap();

    assert_eq!(secret.json()["data"]["password"], PASSWORD);
    assert_eq!(written.status, 201);
    assert!(place.upstream.seen().iter().all(|seen| seen.authorization == TOKEN));
    let log = std::fs::read_to_string(place.folder.join("log")).unwrap();
    for hidden in ["nobody-may-see", "uthorization", "password"] {
        assert!(!log.contains(hidden), "{hidden} in\n{log}");
        assert!(!format!("{:?}", place.proxy.records()).contains(hidden));
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> =
        lines.iter().map(|line| (line["line"].as_str().unwrap(), line["id"].as_u64())).collect();
    assert_eq!(
        shown,
        [("request", Some(1)), ("outcome", Some(1)), ("request", Some(2)), ("outcome", Some(2))]
    );
    assert_eq!((lines[2]["verb"].as_str(), lines[2]["number"].as_u64()), (Some("create"), Some(1)));
    assert_eq!((&lines[3]["given"], &lines[3]["rules"]), (&json!(201), &json!(["rule-1"])));
}

#[test]
fn only_http_1_1_is_offered() {
    let place = Place::new("protocol", Vec::new());

    assert_eq!(place.client().protocol.as_deref(), Some(b"http/1.1".as_slice()));
}

#[test]
fn an_error_before_is_one_that_the_server_does_not_know_of() {
    let status = Action::Status { code: 503, retry_after: None, body: Body::Standard };
    let place = Place::new("before", vec![Rule::at_write(2, status)]);
    let mut client = place.client();

    let codes: Vec<u16> = (0..3).map(|_| client.send("POST", MAPS).unwrap().status).collect();

    assert_eq!(codes, [201, 503, 201]);
    assert_eq!(place.upstream.saw(Method::POST), 2);
    let write = &place.proxy.writes()[1];
    assert_eq!((write.server, write.given, &write.outcome), (Server::NotAsked, Some(503), &Outcome::Made));
    place.proxy.assert_all_fired();
}

#[test]
fn an_error_after_is_one_of_a_write_that_was_done() {
    let status = Action::Status { code: 500, retry_after: None, body: Body::Standard };
    let place = Place::new("after", vec![Rule::at_write(1, status).after()]);

    let answer = place.send("POST", MAPS).unwrap();

    assert_eq!((answer.status, answer.json()["reason"].as_str()), (500, Some("InternalError")));
    assert_eq!(place.upstream.saw(Method::POST), 1);
    assert_eq!(place.proxy.writes()[0].server, Server::Answered(201));
}

#[test]
fn too_many_requests_says_when_to_come_again() {
    let status = Action::Status { code: 429, retry_after: Some(7), body: Body::Standard };
    let of = Match { user_agent: Some("vdo-core/".to_owned()), ..Match::of(Verb::Apply, "configmaps") };
    let place = Place::new("retry-after", vec![Rule::on(of, status)]);

    let answer = place.send("PATCH", "/api/v1/namespaces/vdo/configmaps/a").unwrap();

    assert_eq!((answer.status, &answer.headers["retry-after"]), (429, &"7".parse().unwrap()));
    let status = answer.json();
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("TooManyRequests")));
    assert_eq!(status["details"]["retryAfterSeconds"], 7);
}

#[test]
fn a_create_that_conflicts_already_exists_and_an_update_was_modified() {
    let status = Action::Status { code: 409, retry_after: None, body: Body::Standard };
    let place = Place::new("conflict", vec![Rule::on(Match::kinds(&[Kind::Write]), status).nth(Nth::Every)]);
    let reason = |method, path| place.send(method, path).unwrap().json()["reason"].clone();

    assert_eq!(reason("POST", MAPS), "AlreadyExists");
    assert_eq!(reason("PUT", "/api/v1/namespaces/vdo/configmaps/a"), "Conflict");
}

#[test]
fn bodies_are_what_a_broken_way_makes_of_them() {
    let status = |body| Action::Status { code: 200, retry_after: None, body };
    let list = || Match::of(Verb::List, "configmaps");
    let place = Place::new(
        "bodies",
        vec![
            Rule::on(list(), status(Body::Html)).nth(Nth::At(1)),
            Rule::on(list(), status(Body::Truncated)).nth(Nth::At(2)),
            Rule::on(list(), status(Body::Truncated)).nth(Nth::At(3)).after(),
            Rule::on(list(), status(Body::Empty)).nth(Nth::At(4)),
            Rule::on(list(), status(Body::BrokenGzip)).nth(Nth::At(5)),
        ],
    );
    let mut client = place.client();
    let mut next = || client.send("GET", MAPS).unwrap();

    let html = next();
    assert_eq!(html.headers["content-type"], "text/html");
    assert!(html.body.starts_with(b"<html>"));
    let made = next();
    assert!(made.body.starts_with(b"{") && serde_json::from_slice::<Value>(&made.body).is_err());
    assert!(!String::from_utf8_lossy(&made.body).contains("items"));
    let cut = next();
    assert!(String::from_utf8_lossy(&cut.body).contains("items"), "the server's own answer: {cut:?}");
    assert!(serde_json::from_slice::<Value>(&cut.body).is_err());
    assert!(next().body.is_empty());
    let garbage = next();
    assert_eq!(garbage.headers["content-encoding"], "gzip");
    assert!(!garbage.body.starts_with(&[0x1f, 0x8b]), "it is no gzip");
    // The connection is sound: only the bodies were not.
    assert_eq!(next().json()["kind"], "ConfigMapList");
    place.proxy.assert_all_fired();
}

#[test]
fn a_dropped_reply_is_one_of_a_write_that_was_done() {
    let place = Place::new("drop", vec![Rule::at_write(1, Action::DropReply)]);

    let broken = place.send("POST", MAPS).unwrap_err();

    assert!(!broken.reset, "it was closed, not reset");
    assert_eq!(place.upstream.saw(Method::POST), 1);
    let write = &place.proxy.writes()[0];
    assert_eq!((write.server, write.given, &write.outcome), (Server::Answered(201), None, &Outcome::Dropped));
    place.proxy.assert_all_fired();
}

#[test]
fn a_reset_comes_before_or_after_the_server_did_it() {
    let place =
        Place::new("reset", vec![Rule::at_write(1, Action::Reset), Rule::at_write(2, Action::Reset).after()]);

    assert!(place.send("POST", MAPS).unwrap_err().reset);
    assert_eq!(place.upstream.saw(Method::POST), 0);
    assert!(place.send("POST", MAPS).unwrap_err().reset);
    assert_eq!(place.upstream.saw(Method::POST), 1);
    place.proxy.assert_all_fired();
}

#[test]
fn a_held_write_reaches_the_server_when_released() {
    let hold = Action::Hold { ms: None };
    let place = Place::new("hold", vec![Rule::at_write(1, hold).named("held")]);
    let client = place.sending("POST", MAPS);

    place.proxy.wait_for_held("held", SOON);
    assert_eq!(place.upstream.saw(Method::POST), 0);
    // Others pass.
    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);
    assert!(!client.is_finished());
    place.proxy.release("held");

    assert_eq!(client.join().unwrap().unwrap().status, 201);
    assert_eq!(place.upstream.saw(Method::POST), 2);
    assert_eq!(place.proxy.rules()[0].holds, 0);
    place.proxy.assert_all_fired();
}

#[test]
fn a_held_answer_is_one_of_a_write_that_was_done() {
    let hold = Action::Hold { ms: None };
    let place = Place::new("hold-after", vec![Rule::at_write(1, hold).after()]);
    let client = place.sending("POST", MAPS);

    place.proxy.wait_for_held("rule-1", SOON);
    assert_eq!(place.upstream.saw(Method::POST), 1);
    assert!(!client.is_finished());
    place.proxy.release_all();

    assert_eq!(client.join().unwrap().unwrap().status, 201);
}

#[test]
fn a_held_write_reaches_the_server_even_if_its_client_gave_up() {
    let place = Place::new("given-up", vec![Rule::at_write(1, Action::Hold { ms: None })]);
    let mut client = place.client();
    let sent = client.sender.send_request(request("POST", MAPS));
    client.runtime.block_on(async {
        // Long enough to be sent and held: then the client goes away.
        tokio::select! {
            _ = sent => panic!("it was not held"),
            () = async { while place.proxy.rules()[0].holds == 0 { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
    });
    drop(client);
    assert_eq!(place.upstream.saw(Method::POST), 0);
    place.proxy.release_all();

    let write = place.outcome_of_write(1);

    assert_eq!(place.upstream.saw(Method::POST), 1);
    assert_eq!((write.server, write.outcome), (Server::Answered(201), Outcome::ClientGone));
}

#[test]
fn a_hold_with_a_limit_and_a_delay_end_by_themselves() {
    let (hold, delay) = (Action::Hold { ms: Some(150) }, Action::Delay { ms: 150 });
    let place = Place::new("delay", vec![Rule::at_write(1, hold), Rule::at_write(1, delay)]);
    let start = Instant::now();

    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);

    assert!(start.elapsed() >= Duration::from_millis(300), "both were taken: {:?}", start.elapsed());
    place.proxy.assert_all_fired();
}

#[test]
fn other_rules_let_go_of_what_the_old_ones_hold() {
    let everything = Match::kinds(&[Kind::Read, Kind::Write, Kind::Timed]);
    let place =
        Place::new("other-rules", vec![Rule::on(everything, Action::Hold { ms: None }).nth(Nth::Every)]);
    let clients = [place.sending("GET", MAPS), place.sending("POST", MAPS), place.sending("PATCH", LEASE)];
    place.proxy.wait_for(SOON, "all have come", |records| (records.len() == 3).then_some(()));
    testbed::wait::eventually(SOON, "all are held", || match place.proxy.rules()[0].holds {
        3 => Ok(()),
        other => Err(other),
    });
    assert!(place.upstream.seen().is_empty());

    place.proxy.set_rules(Vec::new()).unwrap();

    for client in clients {
        assert!(client.join().unwrap().is_ok());
    }
    assert_eq!(place.upstream.seen().len(), 3);
}

#[test]
fn a_server_that_cannot_be_reached_looks_like_one() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with("nobody", |settings| settings.upstream = nobody.to_string());

    assert!(place.send("GET", MAPS).unwrap_err().reset);

    let record = &place.proxy.records()[0];
    assert_eq!((record.server, record.given), (Server::Asked, None));
    assert!(
        matches!(&record.outcome, Outcome::Failed(why) if why.contains("failed to connect")),
        "{record:?}"
    );
}

#[test]
fn after_a_stop_connections_are_refused_and_another_proxy_takes_the_place() {
    let mut place = Place::new("stop", vec![Rule::on(Match::default(), Action::Hold { ms: None })]);
    let address = place.proxy.address();
    let held = place.sending("POST", MAPS);
    place.proxy.wait_for_held("rule-1", SOON);
    let settings = Settings {
        listen: address,
        upstream: place.upstream.address.to_string(),
        authority: place.folder.join("ca.crt"),
        certificate: place.folder.join("proxy.crt"),
        key: place.folder.join("proxy.key"),
        rules: Vec::new(),
        log: None,
        kill: None,
    };
    let elsewhere = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..settings.clone() };
    std::mem::replace(&mut place.proxy, FaultProxy::start(elsewhere).unwrap()).stop();

    assert!(held.join().unwrap().is_err());
    assert!(Client::connect(address, &place.folder.join("ca.crt")).is_err());
    assert_eq!(place.upstream.saw(Method::POST), 0, "what is held never goes on");

    place.proxy = FaultProxy::start(settings).unwrap();
    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);
}

#[test]
fn a_rule_fires_at_its_occurrence_and_nowhere_else() {
    let status = |code| Action::Status { code, retry_after: None, body: Body::Empty };
    let lists = || Match::of(Verb::List, "configmaps");
    let place = Place::new(
        "occurrence",
        vec![
            Rule::on(lists(), status(501)).nth(Nth::Between(2, 3)),
            Rule::on(lists(), status(502)).nth(Nth::At(5)),
        ],
    );
    let mut client = place.client();

    let codes: Vec<u16> = (0..6).map(|_| client.send("GET", MAPS).unwrap().status).collect();

    assert_eq!(codes, [200, 501, 501, 200, 502, 200]);
    let fates: Vec<_> =
        place.proxy.rules().into_iter().map(|fate| (fate.counted, fate.fired, fate.spent)).collect();
    assert_eq!(fates, [(6, 2, true), (6, 1, true)]);
}

#[test]
fn the_same_line_gives_the_same_faults() {
    let line = r#"[{"match": {"verb": "create"}, "nth": 2, "action": {"Status": {"code": 500}}},
        {"write": 3, "point": "After", "action": "Reset"}, {"match": {"resource": "configmaps"}, "nth": {"from": 4, "to": 5},
        "action": {"Status": {"code": 429, "retry_after": 1, "body": "Html"}}}]"#;
    let run = |name| {
        let place = Place::new(name, parse(line).unwrap());
        for method in ["POST", "GET", "POST", "PUT", "GET", "POST", "POST"] {
            let path = if method == "PUT" { "/api/v1/namespaces/vdo/configmaps/a" } else { MAPS };
            place.send(method, path).ok();
        }
        let fired: Vec<u64> = place.proxy.rules().iter().map(|fate| fate.fired).collect();
        // What the server did not see is not reset after it.
        assert_eq!(fired, [1, 0, 2]);
        let shown =
            |record: Record| (record.number, record.rules, record.server, record.given, record.outcome);
        place.proxy.records().into_iter().map(shown).collect::<Vec<_>>()
    };

    let first = run("replay-1");

    assert_eq!(first, run("replay-2"));
    let rules: Vec<String> = first.iter().map(|(_, rules, ..)| rules.concat()).collect();
    assert_eq!(rules, ["", "", "rule-1", "rule-3", "rule-3", "", ""]);
}

#[test]
#[should_panic(expected = r#"never acted:
  {"write":9,"action":"Kill"} (counted 0)"#)]
fn a_rule_that_never_acts_fails_the_case() {
    let place = Place::new("never", vec![Rule::at_write(9, Action::Kill)]);
    place.send("POST", MAPS).unwrap();

    place.proxy.assert_all_fired();
}

#[test]
fn a_stale_list_is_an_older_answer_to_the_same_list() {
    let place = Place::new("stale", Vec::new());
    let version = |path: &str| place.send("GET", path).unwrap().json()["metadata"]["resourceVersion"].clone();
    assert_eq!(version(MAPS), "0");
    place.send("POST", MAPS).unwrap();
    assert_eq!(version(MAPS), "1");
    place.send("POST", MAPS).unwrap();
    let stale = |answer, nth| {
        Rule::on(Match::of(Verb::List, "configmaps"), Action::StaleList { answer }).nth(Nth::At(nth))
    };
    place.proxy.set_rules(vec![stale(2, 1), stale(1, 2), stale(1, 4)]).unwrap();
    let asked = place.upstream.saw(Method::GET);

    assert_eq!(version(&format!("{MAPS}?resourceVersion=0")), "1");
    assert_eq!(version(MAPS), "0");
    assert_eq!(place.upstream.saw(Method::GET), asked, "the server was not asked");
    assert_eq!(version(MAPS), "2");
    // Of another list there is no older answer, so the rule does not fire, and says so.
    assert_eq!(version(&format!("{MAPS}?labelSelector=a")), "2");
    let fired: Vec<u64> = place.proxy.rules().iter().map(|fate| fate.fired).collect();
    assert_eq!(fired, [1, 1, 0]);
}

#[test]
fn the_program_reads_its_rules_again_and_fails_when_one_never_acted() {
    let place = Place::new("program", Vec::new());
    let file = |name: &str| place.folder.join(name);
    std::fs::write(file("rules"), r#"{"write": 1, "action": {"Hold": {}}}"#).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["faultproxy", "--listen", "127.0.0.1:0", "--upstream", &place.upstream.address.to_string()])
        .arg("--ca")
        .arg(file("ca.crt"))
        .arg("--certificate")
        .arg(file("proxy.crt"))
        .arg("--key")
        .arg(file("proxy.key"))
        .arg("--rules")
        .arg(file("rules"))
        .arg("--log")
        .arg(file("program-log"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |child: &Child, signal| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    };
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let mut client = Client::connect(address.trim().parse().unwrap(), &file("ca.crt")).unwrap();
    let held = thread::spawn(move || client.send("POST", MAPS));
    testbed::wait::eventually(SOON, "the write is in the log", || {
        let log = std::fs::read_to_string(file("program-log")).map_err(|fault| fault.to_string())?;
        if log.contains(r#""verb":"create""#) { Ok(()) } else { Err(log) }
    });
    assert_eq!(place.upstream.saw(Method::POST), 0);

    std::fs::write(file("rules"), r#"[{"write": 99, "action": "Kill"}]"#).unwrap();
    signal(&child, nix::sys::signal::Signal::SIGHUP);
    assert_eq!(held.join().unwrap().unwrap().status, 201);
    signal(&child, nix::sys::signal::Signal::SIGTERM);

    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(said.contains("the rules were read again"), "{said}");
    assert!(said.contains(r#"never acted: {"write":99,"action":"Kill"}"#), "{said}");
}
