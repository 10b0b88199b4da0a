//! Clients that are killed. The client process is this test binary again, as [`the_client_that_is_killed`].

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use http::Method;
use testbed::faultproxy::{Action, Outcome, Rule, Server, Verb};

use crate::support::{Client, MAPS, Place, SOON};

/// By which the process that is killed knows where to go.
const ADDRESS: &str = "FAULTPROXY_TEST_ADDRESS";
const CA: &str = "FAULTPROXY_TEST_CA";

/// Not a test of its own: a client that writes for ever, for tests that kill it.
#[test]
#[ignore = "other tests start it as a process"]
fn the_client_that_is_killed() {
    let address = std::env::var(ADDRESS).expect("only other tests start this").parse().unwrap();
    let mut client = Client::connect(address, Path::new(&std::env::var(CA).unwrap())).unwrap();
    println!("connected");
    loop {
        client.send("POST", MAPS).unwrap();
    }
}

impl Place {
    /// Starts that client as a process of its own.
    fn process(&self) -> Child {
        process(self.proxy.address(), &self.folder.join("ca.crt"))
    }
}

fn process(address: SocketAddr, ca: &Path) -> Child {
    with_arguments(&mut Command::new(std::env::current_exe().unwrap()), address, ca).spawn().unwrap()
}

fn with_arguments<'a>(command: &'a mut Command, address: SocketAddr, ca: &Path) -> &'a mut Command {
    command
        .args(["--exact", "killing::the_client_that_is_killed", "--ignored", "--nocapture"])
        .env(ADDRESS, address.to_string())
        .env(CA, ca)
        .stdout(Stdio::null())
}

/// Waits for the end of a process and says whether it was SIGKILL.
fn was_killed(mut child: Child) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    child.wait().unwrap().signal() == Some(9)
}

#[test]
fn a_client_is_killed_before_the_server_sees_its_write() {
    let place = Place::new("kill-before", vec![Rule::at_write(3, Action::Kill)]);

    assert!(was_killed(place.process()));

    assert_eq!(place.upstream.saw(Method::POST), 2);
    let write = place.outcome_of_write(3);
    assert_eq!((write.server, write.outcome), (Server::NotAsked, Outcome::Killed));
    // The next one writes on where the numbers are.
    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);
    assert_eq!(place.proxy.writes().len(), 4);
    place.proxy.assert_all_fired();
}

#[test]
fn a_client_is_killed_after_the_server_did_its_write() {
    let place = Place::new("kill-after", vec![Rule::at_write(3, Action::Kill).after()]);

    assert!(was_killed(place.process()));

    assert_eq!(place.upstream.saw(Method::POST), 3);
    let write = place.outcome_of_write(3);
    assert_eq!((write.server, write.given, write.outcome), (Server::Answered(201), None, Outcome::Killed));
    place.proxy.assert_all_fired();
}

#[test]
fn the_test_s_own_way_to_kill_is_taken_and_what_else_the_dead_client_sent_stays() {
    let child = Arc::new(Mutex::new(None::<Child>));
    let (begin, began) = mpsc::channel::<()>();
    let (go, may_go) = mpsc::channel::<()>();
    let (begin, may_go) = (Mutex::new(begin), Mutex::new(may_go));
    let place = Place::with("kill-by-test", |settings| {
        let child = child.clone();
        settings.rules = vec![Rule::at_write(2, Action::Kill)];
        settings.kill = Some(Arc::new(move || {
            begin.lock().unwrap().send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
            child.lock().unwrap().as_mut().unwrap().kill().unwrap();
        }));
    });
    let mut other = place.client();
    assert_eq!(other.send("GET", MAPS).unwrap().status, 200);
    *child.lock().unwrap() = Some(place.process());
    began.recv_timeout(SOON).unwrap();

    // While the client dies, nothing of it goes on, on whatever connection.
    assert!(other.send("POST", MAPS).is_err());
    let late = place.client();
    go.send(()).unwrap();
    place.outcome_of_write(2);
    let mut late = late;
    assert!(late.send("POST", MAPS).is_err(), "it connected before the client was dead");

    let child = child.lock().unwrap().take().unwrap();
    assert!(was_killed(child));
    assert_eq!(place.upstream.saw(Method::POST), 1);
    let dead =
        place.records(Verb::Create).into_iter().filter(|record| record.outcome == Outcome::FromTheDead);
    assert_eq!(dead.map(|record| record.number).collect::<Vec<_>>(), [None, None]);
    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);
    assert_eq!(place.outcome_of_write(3).outcome, Outcome::Answered);
}

#[test]
fn a_process_that_is_not_of_the_bed_is_not_killed() {
    let place = Place::new("kill-refused", vec![Rule::at_write(1, Action::Kill)]);

    assert!(place.send("POST", MAPS).is_err());

    let write = place.outcome_of_write(1);
    assert!(
        matches!(&write.outcome, Outcome::Failed(why) if why.contains("this process itself")),
        "{write:?}"
    );
    assert_eq!(place.upstream.saw(Method::POST), 0);
    assert_eq!(place.proxy.rules()[0].fired, 0, "it killed nobody");
    // Nobody died, so the next one is heard.
    assert_eq!(place.send("POST", MAPS).unwrap().status, 201);
}

#[test]
fn a_process_that_nobody_of_ours_started_is_not_killed() {
    let place = Place::new("kill-stranger", vec![Rule::at_write(1, Action::Kill)]);
    // The shell ends at once, and what it started is no descendant of this process any more. It ends by itself when its
    // connection does.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$0" "$@" 2>/dev/null & "#]).arg(std::env::current_exe().unwrap());
    let shell = with_arguments(&mut shell, place.proxy.address(), &place.folder.join("ca.crt")).status();
    assert!(shell.unwrap().success());

    let write = place.outcome_of_write(1);

    assert!(
        matches!(&write.outcome, Outcome::Failed(why) if why.contains("does not belong to us")),
        "{write:?}"
    );
    assert_eq!(place.upstream.saw(Method::POST), 0);
}
