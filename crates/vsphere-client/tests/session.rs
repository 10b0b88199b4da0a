//! What is asked, how often, and what comes of the answers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use support::certificates::{VALID, self_signed};
use support::{Say, Seen, Server, USER_AGENT, canned, header};
use vsphere_client::{
    Client, Datacenter, DatacenterMatch, Error, HostVersions, Phase, PowerState, Retry, SecretString,
    Session, Target, ToolsState, Trust, Uuid,
};

const VERSIONS: &str = "GET /sdk/vimServiceVersions.xml HTTP/1.1";

async fn server(mut script: impl FnMut(&Seen) -> Option<Say> + Send + 'static) -> Server {
    let tls = self_signed(&["localhost"], VALID, false).server();
    Server::start(tls, move |seen| {
        script(seen)
            .or_else(|| canned::greeting(seen))
            .unwrap_or_else(|| panic!("unscripted {}", seen.method))
    })
    .await
}

fn target(server: &Server) -> Target {
    server.target("localhost", Trust::Insecure)
}

async fn session_for(target: Target) -> Result<Session, Error> {
    Client::connect(target).await?.login("me@vsphere.local", &SecretString::from("s3cret")).await
}

async fn session(server: &Server) -> Session {
    session_for(target(server)).await.unwrap()
}

/// A property read that answers for the datacenters when it walks folders.
fn tree(seen: &Seen) -> Option<Say> {
    let objects = [
        canned::object("Folder", "group-d1", &[("name", "Datacenters")]),
        canned::object("Datacenter", "datacenter-2", &[("name", "dc"), ("parent", "Folder:group-d1")]),
        canned::object("Folder", "group-d3", &[("name", "a%2fb"), ("parent", "Folder:group-d1")]),
        canned::object("Datacenter", "datacenter-4", &[("name", "dc"), ("parent", "Folder:group-d3")]),
        canned::object("Datacenter", "datacenter-5", &[("name", "übersee"), ("parent", "Folder:group-d3")]),
    ];
    let walks = seen.method == "RetrievePropertiesEx" && seen.body.contains("<path>childEntity</path>");
    walks.then(|| canned::page("RetrievePropertiesEx", &objects.concat(), None))
}

async fn datacenter(session: &Session, wanted: &str) -> Datacenter {
    match session.fetch_datacenters().await.unwrap().select(wanted) {
        DatacenterMatch::One(datacenter) => datacenter.clone(),
        other => panic!("{wanted}: {other:?}"),
    }
}

#[tokio::test]
async fn a_session_costs_one_login_and_one_logout() {
    let server = server(|_| None).await;
    let session = session(&server).await;
    assert_eq!(session.about().version, "8.0.3");
    assert_eq!(session.about().api_version, "8.0.3.0");
    assert_eq!(session.about().build, "24022515");
    session.logout().await.unwrap();
    assert_eq!(server.methods(), [VERSIONS, "RetrieveServiceContent", "Login", "Logout"]);

    let login = server.seen("Login");
    assert!(login.head.starts_with("POST /sdk HTTP/1.1"));
    assert_eq!(header(&login.head, "user-agent").unwrap(), USER_AGENT);
    assert_eq!(header(&login.head, "soapaction").unwrap(), "urn:vim25/6.7");
    assert_eq!(header(&login.head, "content-type").unwrap(), "text/xml; charset=utf-8");
    assert_eq!(header(&login.head, "cookie"), None);
    assert!(login.body.contains("<userName>me@vsphere.local</userName><password>s3cret</password>"));
    assert_eq!(header(&server.seen("Logout").head, "cookie").unwrap(), canned::COOKIE);
    server.quiet(|record| assert_eq!(record.connections, 1)).await;
}

#[tokio::test]
async fn a_client_that_never_logs_in_sends_no_credential_and_no_logout() {
    let server = server(|_| None).await;
    let client = Client::connect(target(&server)).await.unwrap();
    assert_eq!(client.about().instance_uuid, "i-1");
    drop(client);
    server.quiet(|record| assert_eq!(record.requests.len(), 2)).await;
}

#[tokio::test]
async fn a_login_that_the_caller_abandons_logs_itself_out() {
    // From a request that is not out yet to an answer that nobody took.
    for turns in [0, 1, 10, 100, 1_000, 10_000] {
        let server = server(|_| None).await;
        let client = Client::connect(target(&server)).await.unwrap();
        let password = SecretString::from("s3cret");
        let mut login = Box::pin(client.login("me", &password));
        // Under way, and never looked at again.
        tokio::select! {
            biased;
            _ = &mut login => panic!("the login cannot have ended"),
            () = std::future::ready(()) => {}
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        drop(login);
        server.until(|record| record.requests.len() == 4, |_| ()).await;
        assert_eq!(server.methods()[2..], ["Login", "Logout"], "{turns}");
    }
}

#[tokio::test]
async fn what_vcenter_says_to_a_login_is_what_the_caller_hears() {
    for (say, expected) in [
        (canned::fault("InvalidLogin", ""), "InvalidLogin"),
        (
            canned::fault(
                "NoPermission",
                "<object type=\"Folder\">group-d1</object><privilegeId>System.View</privilegeId>",
            ),
            "NoPermission { privilege: \"System.View\", object: \"Folder:group-d1\" }",
        ),
        (
            canned::fault("InvalidState", ""),
            "Fault { method: \"Login\", name: \"InvalidState\", message: \"it failed\" }",
        ),
        (
            canned::answer("Login", "<returnval/>"),
            "Malformed { method: \"Login\", why: \"it has no session cookie\" }",
        ),
        (
            Say::Http(503, "Retry-After: 7\r\n".to_string(), "<html>busy</html>".to_string()),
            "Throttled { status: 503, retry_after: Some(7s) }",
        ),
        (Say::Http(429, String::new(), String::new()), "Throttled { status: 429, retry_after: None }"),
        (
            Say::Http(500, String::new(), "<html/>".to_string()),
            "Malformed { method: \"Login\", why: \"it is not a SOAP envelope\" }",
        ),
    ] {
        let server = server(move |seen| (seen.method == "Login").then(|| say.clone())).await;
        let error = session_for(target(&server)).await.unwrap_err();
        assert_eq!(format!("{error:?}"), expected);
        assert_eq!(server.count("Login"), 1, "a login is never repeated");
        assert_eq!(server.count("Logout"), 0);
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_sent_is_refused_before_anything_is() {
    let server = server(|_| None).await;
    let client = Client::connect(target(&server)).await.unwrap();
    let error = client.login("me", &SecretString::from("a\u{1}b")).await.unwrap_err();
    assert!(matches!(error, Error::Unwritable { field: "password" }));
    assert_eq!(server.count("Login"), 0);
}

#[tokio::test]
async fn every_printable_character_of_a_password_arrives() {
    let server = server(|_| None).await;
    let all: String = (' '..='~').chain("é日\u{1f511}\t".chars()).collect();
    let client = Client::connect(target(&server)).await.unwrap();
    client.login("me", &SecretString::from(all.clone())).await.unwrap().logout().await.unwrap();
    let body = server.seen("Login").body;
    let sent = body.split_once("<password>").unwrap().1.split_once("</password>").unwrap().0;
    assert_eq!(quick_xml::escape::unescape(sent).unwrap(), all);
}

#[tokio::test]
async fn other_servers_are_not_taken_for_a_vcenter() {
    let html = "<html><body>It works!</body></html>";
    for (method, say) in [
        (VERSIONS, Say::Http(404, String::new(), html.to_string())),
        (VERSIONS, Say::Http(200, String::new(), html.to_string())),
        (VERSIONS, Say::Http(200, String::new(), String::new())),
        (VERSIONS, Say::Http(301, "Location: https://localhost/elsewhere\r\n".to_string(), String::new())),
        (VERSIONS, Say::Http(401, String::new(), String::new())),
        (VERSIONS, Say::Raw(b"* OK IMAP4rev1 ready\r\n".to_vec())),
        ("RetrieveServiceContent", canned::content("HostAgent", "8.0.3.0")),
    ] {
        let server = server(move |seen| (seen.method == method).then(|| say.clone())).await;
        let error = session_for(target(&server)).await.unwrap_err();
        assert!(matches!(error, Error::NotVCenter { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Terminal);
        assert_eq!(server.count("Login"), 0);
    }
}

#[tokio::test]
async fn versions_before_six_seven_are_too_old_and_later_ones_are_not() {
    for (version, fits) in [
        ("5.5", false),
        ("6.5", false),
        ("6.7.3", true),
        ("7.0.3.2", true),
        ("9.1.0.0", true),
        ("10.0", true),
        ("x", false),
        ("", false),
    ] {
        let server = server(move |seen| {
            (seen.method == "RetrieveServiceContent").then(|| canned::content("VirtualCenter", version))
        })
        .await;
        match Client::connect(target(&server)).await {
            Ok(client) => assert!(fits && client.about().api_version == version, "{version}"),
            Err(Error::TooOld { version: told }) => assert!(!fits && told == version, "{version}"),
            Err(other) => panic!("{version}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_no_longer_serves_our_interface_is_spoken_to_in_its_newest() {
    let server = server(|seen| {
        (seen.method == VERSIONS)
            .then(|| Say::Http(200, String::new(), canned::VERSIONS.replace("6.7", "7.0")))
    })
    .await;
    session(&server).await.logout().await.unwrap();
    assert_eq!(header(&server.seen("Login").head, "soapaction").unwrap(), "urn:vim25/8.0.3.0");
}

#[tokio::test]
async fn the_current_session_is_read_and_its_end_is_noticed() {
    let mut reads = 0;
    let server = server(move |seen| {
        if seen.method != "RetrievePropertiesEx" {
            return None;
        }
        assert!(seen.body.contains("<pathSet>currentSession</pathSet>"));
        reads += 1;
        let manager = "<objects><obj type=\"SessionManager\">SessionManager</obj>";
        Some(match reads {
            1 => canned::page(
                "RetrievePropertiesEx",
                &format!(
                    "{manager}<propSet><name>currentSession</name><val xsi:type=\"UserSession\"><key>52-key</key>\
                     <userName>VSPHERE.LOCAL\\me</userName><fullName>Me</fullName></val></propSet></objects>"
                ),
                None,
            ),
            2 => canned::page("RetrievePropertiesEx", &format!("{manager}</objects>"), None),
            3 => canned::page(
                "RetrievePropertiesEx",
                &format!(
                    "{manager}<missingSet><path>currentSession</path><fault><fault xsi:type=\"NotAuthenticated\"/>\
                     </fault></missingSet></objects>"
                ),
                None,
            ),
            _ => canned::fault("NotAuthenticated", ""),
        })
    })
    .await;
    let session = session(&server).await;
    let current = session.fetch_current().await.unwrap();
    assert_eq!((current.key.as_str(), current.user_name.as_str()), ("52-key", "VSPHERE.LOCAL\\me"));
    for _ in 0..3 {
        let error = session.keepalive().await.unwrap_err();
        assert!(matches!(error, Error::NotAuthenticated), "{error:?}");
        assert_eq!(error.retry(), Retry::Transient);
    }
    assert_eq!(server.count("Login"), 1, "nothing logs in again by itself");
    // The caller does, over the connection that is there.
    let again = session.into_client().login("me", &SecretString::from("s3cret")).await.unwrap();
    again.logout().await.unwrap();
    assert_eq!((server.count("Login"), server.count("Logout")), (2, 1));
    server.quiet(|record| assert_eq!(record.connections, 1)).await;
}

#[tokio::test]
async fn a_logout_of_a_session_that_has_ended_is_as_good() {
    let server =
        server(|seen| (seen.method == "Logout").then(|| canned::fault("NotAuthenticated", ""))).await;
    session(&server).await.logout().await.unwrap();
    assert_eq!(server.count("Logout"), 1);
}

#[tokio::test]
async fn datacenters_are_found_by_path_and_by_a_name_that_is_unique() {
    let server = server(tree).await;
    let session = session(&server).await;
    let datacenters = session.fetch_datacenters().await.unwrap();
    assert_eq!(server.count("RetrievePropertiesEx"), 1);
    let paths: Vec<_> = datacenters.found.iter().map(|datacenter| datacenter.path.as_str()).collect();
    assert_eq!(paths, ["/a%2fb/dc", "/a%2fb/übersee", "/dc"]);
    let select = |wanted: &str| match datacenters.select(wanted) {
        DatacenterMatch::One(datacenter) => datacenter.path.as_str(),
        DatacenterMatch::Ambiguous(several) => ["none", "one", "two"][several.len()],
        DatacenterMatch::Missing => "missing",
        DatacenterMatch::Unreadable(_) => "unreadable",
    };
    for (wanted, found) in [
        ("/dc", "/dc"),
        ("/dc/", "/dc"),
        ("dc", "two"),
        ("/a%2Fb/dc", "/a%2fb/dc"),
        ("a%2fb/dc", "/a%2fb/dc"),
        ("übersee", "/a%2fb/übersee"),
        ("/übersee", "missing"),
        ("/a/b/dc", "missing"),
        ("DC", "missing"),
        ("", "missing"),
        ("/", "missing"),
        ("%", "missing"),
        ("/%2", "missing"),
    ] {
        assert_eq!(select(wanted), found, "{wanted:?}");
    }
    session.logout().await.unwrap();
}

#[tokio::test]
async fn what_may_not_be_read_is_never_missing() {
    let server = server(|seen| {
        (seen.method == "RetrievePropertiesEx").then(|| {
            let objects = [
                canned::object(
                    "Datacenter",
                    "datacenter-2",
                    &[("name", "dc"), ("parent", "Folder:group-d1")],
                ),
                canned::object(
                    "Datacenter",
                    "datacenter-5",
                    &[("name", "inner"), ("parent", "Folder:group-d4")],
                ),
                canned::denied_object("Datacenter", "datacenter-3", "name"),
            ];
            canned::page("RetrievePropertiesEx", &objects.concat(), None)
        })
    })
    .await;
    let session = session(&server).await;
    let datacenters = session.fetch_datacenters().await.unwrap();
    assert!(matches!(datacenters.select("dc"), DatacenterMatch::One(dc) if dc.path == "/dc"));
    let DatacenterMatch::Unreadable(denied) = datacenters.select("other") else { panic!() };
    assert_eq!(
        (denied.object.as_str(), denied.privilege.as_str()),
        ("Datacenter:datacenter-3", "System.Read")
    );
    assert_eq!(datacenters.unreadable[1].object, "Folder:group-d4");
    session.logout().await.unwrap();
}

#[tokio::test]
async fn folders_that_contain_each_other_make_no_endless_path() {
    let server = server(|seen| {
        (seen.method == "RetrievePropertiesEx").then(|| {
            let objects = [
                canned::object("Folder", "group-1", &[("name", "a"), ("parent", "Folder:group-2")]),
                canned::object("Folder", "group-2", &[("name", "b"), ("parent", "Folder:group-1")]),
                canned::object("Datacenter", "datacenter-3", &[("name", "dc"), ("parent", "Folder:group-1")]),
            ];
            canned::page("RetrievePropertiesEx", &objects.concat(), None)
        })
    })
    .await;
    let session = session(&server).await;
    let datacenters = session.fetch_datacenters().await.unwrap();
    assert!(matches!(datacenters.select("dc"), DatacenterMatch::Unreadable(_)));
    session.logout().await.unwrap();
}

/// Pages of two machines each.
fn pages(of: u32) -> impl FnMut(&Seen) -> Option<Say> + Send + 'static {
    let mut next = 0;
    move |seen| {
        if let Some(say) = tree(seen) {
            return Some(say);
        }
        let method = match seen.method.as_str() {
            "RetrievePropertiesEx" => {
                assert!(seen.body.contains("<obj type=\"ContainerView\">session[1]view-7</obj>"));
                assert!(seen.body.contains("<maxObjects>2</maxObjects>"));
                next = 0;
                "RetrievePropertiesEx"
            }
            "ContinueRetrievePropertiesEx" => {
                assert!(seen.body.contains(&format!("<token>after &lt;{next}&gt;</token>")));
                "ContinueRetrievePropertiesEx"
            }
            "CancelRetrievePropertiesEx" => return Some(canned::answer("CancelRetrievePropertiesEx", "")),
            _ => return None,
        };
        let rows = canned::vm(2 * next) + &canned::vm(2 * next + 1);
        next += 1;
        let token = format!("after &lt;{next}&gt;");
        Some(canned::page(method, &rows, (next < of).then_some(&token)))
    }
}

async fn paged(server: &Server, most: u32) -> Session {
    let mut target = target(server);
    target.limits.page = 2;
    target.limits.pages = most;
    session_for(target).await.unwrap()
}

#[tokio::test]
async fn an_inventory_of_n_pages_is_read_with_n_calls() {
    for n in [1, 2, 5] {
        let server = server(pages(n)).await;
        let session = paged(&server, 100).await;
        let dc = datacenter(&session, "/dc").await;
        let before = server.methods().len();
        let vms = session.fetch_vms(&[&dc]).await.unwrap();
        assert_eq!((vms.rows.len() as u32, vms.pages, vms.unreadable), (2 * n, n, 0));
        let calls = server.methods().split_off(before);
        assert_eq!(calls.len() as u32, n + 2, "a view, {n} pages and the view's end: {calls:?}");
        assert_eq!((calls[0].as_str(), calls[1].as_str()), ("CreateContainerView", "RetrievePropertiesEx"));
        assert_eq!(calls.last().unwrap(), "DestroyView");
        let created = server.seen("CreateContainerView").body;
        assert!(created.contains("<container type=\"Datacenter\">datacenter-2</container>"), "{created}");
        assert!(created.contains("<type>VirtualMachine</type><recursive>true</recursive>"));
        assert!(
            server
                .seen("DestroyView")
                .body
                .contains("<_this type=\"ContainerView\">session[1]view-7</_this>")
        );

        let last = vms.rows.last().unwrap();
        let number = 2 * n - 1;
        assert_eq!(
            (&*last.id, &*last.name),
            (format!("vm-{number}").as_str(), format!("node-{number}").as_str())
        );
        assert_eq!(last.bios_uuid, Uuid::parse(&format!("42000000-0000-0000-0000-{number:012x}")));
        assert_eq!(last.instance_uuid, Uuid::parse(&format!("50000000-0000-0000-0000-{number:012x}")));
        assert_eq!(last.guest_host_name.as_deref(), Some(format!("host-{number}").as_str()));
        assert_eq!((last.tools, last.power, last.datacenter), (ToolsState::Running, PowerState::On, 0));
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn machines_of_several_datacenters_know_theirs() {
    let server = server(pages(2)).await;
    let session = paged(&server, 4).await;
    let datacenters = session.fetch_datacenters().await.unwrap();
    let all: Vec<_> = datacenters.found.iter().take(2).collect();
    let vms = session.fetch_vms(&all).await.unwrap();
    let places: Vec<_> = vms.rows.iter().map(|row| row.datacenter).collect();
    assert_eq!(places, [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(vms.pages, 4);
    session.logout().await.unwrap();
}

#[tokio::test]
async fn a_read_without_end_stops_and_cleans_up() {
    let server = server(pages(u32::MAX)).await;
    let session = paged(&server, 3).await;
    let dc = datacenter(&session, "/dc").await;
    let before = server.methods().len();
    let error = session.fetch_vms(&[&dc]).await.unwrap_err();
    assert!(matches!(error, Error::TooManyPages { limit: 3 }), "{error:?}");
    let calls = server.methods().split_off(before);
    assert_eq!(calls[3..], ["ContinueRetrievePropertiesEx", "CancelRetrievePropertiesEx", "DestroyView"]);
    session.logout().await.unwrap();
}

#[tokio::test]
async fn machines_show_what_can_be_known_of_them() {
    let server = server(|seen| {
        tree(seen).or_else(|| {
            (seen.method == "RetrievePropertiesEx").then(|| {
                let objects = [
                    canned::object(
                        "VirtualMachine",
                        "vm-1",
                        &[
                            ("name", "a &amp; b"),
                            ("guest.toolsRunningStatus", "guestToolsNotRunning"),
                            ("runtime.powerState", "poweredOff"),
                        ],
                    ),
                    canned::object(
                        "VirtualMachine",
                        "vm-2",
                        &[
                            ("name", "c"),
                            ("config.uuid", "no uuid"),
                            ("runtime.powerState", "suspended"),
                            ("guest.toolsRunningStatus", "guestToolsExecutingScripts"),
                        ],
                    ),
                    canned::denied_object("VirtualMachine", "vm-3", "config.uuid"),
                ];
                canned::page("RetrievePropertiesEx", &objects.concat(), None)
            })
        })
    })
    .await;
    let session = session(&server).await;
    let dc = datacenter(&session, "/dc").await;
    let vms = session.fetch_vms(&[&dc]).await.unwrap();
    let [off, suspended, denied] = vms.rows.as_slice() else { panic!("{vms:?}") };
    assert_eq!((&*off.name, off.bios_uuid, off.guest_host_name.as_deref()), ("a & b", None, None));
    assert_eq!((off.tools, off.power), (ToolsState::NotRunning, PowerState::Off));
    assert_eq!(
        (suspended.bios_uuid, suspended.tools, suspended.power),
        (None, ToolsState::Running, PowerState::Suspended)
    );
    assert_eq!((&*denied.id, denied.tools, denied.power), ("vm-3", ToolsState::Unknown, PowerState::Unknown));
    assert_eq!((vms.unreadable, vms.first_unreadable.unwrap().object.as_str()), (1, "VirtualMachine:vm-3"));
    session.logout().await.unwrap();
}

#[tokio::test]
async fn a_datacenter_without_machines_is_an_empty_page() {
    let server = server(|seen| {
        tree(seen).or_else(|| {
            (seen.method == "RetrievePropertiesEx").then(|| canned::answer("RetrievePropertiesEx", ""))
        })
    })
    .await;
    let session = session(&server).await;
    let dc = datacenter(&session, "/dc").await;
    let vms = session.fetch_vms(&[&dc]).await.unwrap();
    assert_eq!((vms.rows.len(), vms.pages), (0, 1));
    session.logout().await.unwrap();
}

/// A machine, and these hosts beside it.
fn beside_hosts(hosts: Vec<String>) -> impl FnMut(&Seen) -> Option<Say> + Send + 'static {
    move |seen| {
        tree(seen).or_else(|| {
            (seen.method == "RetrievePropertiesEx")
                .then(|| canned::page("RetrievePropertiesEx", &(canned::vm(1) + &hosts.concat()), None))
        })
    }
}

#[tokio::test]
async fn hosts_are_read_in_the_calls_for_the_machines_and_only_if_asked() {
    let host = |id: &str, version: &str, api: &str| {
        canned::object(
            "HostSystem",
            id,
            &[("summary.config.product.version", version), ("summary.config.product.apiVersion", api)],
        )
    };
    let hosts = vec![
        host("host-1", "8.0.2", "8.0.2.0"),
        host("host-2", "6.7.0", "6.7.3"),
        host("host-3", "8.0.2", "8.0.2.0"),
    ];
    let server = server(beside_hosts(hosts)).await;
    let session = session(&server).await;
    let dc = datacenter(&session, "/dc").await;
    let before = server.methods().len();
    let (vms, hosts) = session.fetch_machines(&[&dc], HostVersions::Read).await.unwrap();
    let hosts = hosts.unwrap();
    let products: Vec<_> = hosts.products.iter().map(|it| (&*it.version, &*it.api_version)).collect();
    assert_eq!(products, [("6.7.0", "6.7.3"), ("8.0.2", "8.0.2.0")]);
    assert_eq!((hosts.seen, hosts.unreadable, hosts.first_unreadable), (3, 0, None));
    assert_eq!((vms.rows.len(), vms.unreadable), (1, 0), "a host is no machine");
    assert_eq!(server.methods()[before..], ["CreateContainerView", "RetrievePropertiesEx", "DestroyView"]);
    let created = server.seen("CreateContainerView").body;
    assert!(created.contains("<type>VirtualMachine</type><type>HostSystem</type><recursive>"), "{created}");
    session.logout().await.unwrap();
}

#[tokio::test]
async fn nobody_is_asked_for_hosts_who_was_not_to_be() {
    let server = server(pages(2)).await;
    let session = paged(&server, 100).await;
    let dc = datacenter(&session, "/dc").await;
    let (vms, hosts) = session.fetch_machines(&[&dc], HostVersions::Skip).await.unwrap();
    assert_eq!((vms.rows.len(), hosts), (4, None));
    session.logout().await.unwrap();
    server.quiet(|record| assert!(record.requests.iter().all(|it| !it.body.contains("HostSystem")))).await;
}

#[tokio::test]
async fn hosts_that_may_not_be_read_cost_no_machine() {
    for (hosts, seen, denied) in [
        // Without any right on it a host is in no view.
        (Vec::new(), 0, None),
        // One that never connected has no version.
        (vec![canned::object("HostSystem", "host-1", &[])], 1, None),
        // The same one is named whatever the order.
        (
            ["host-9", "host-2", "host-7"]
                .map(|id| canned::denied_object("HostSystem", id, "summary.config.product.version"))
                .into(),
            3,
            Some("HostSystem:host-2"),
        ),
    ] {
        let server = server(beside_hosts(hosts)).await;
        let session = session(&server).await;
        let dc = datacenter(&session, "/dc").await;
        let (vms, hosts) = session.fetch_machines(&[&dc], HostVersions::Read).await.unwrap();
        let hosts = hosts.unwrap();
        assert_eq!((vms.rows.len(), vms.unreadable), (1, 0));
        assert_eq!((hosts.products.len(), hosts.seen, hosts.unreadable), (0, seen, seen));
        assert_eq!(hosts.first_unreadable.as_ref().map(|it| it.object.as_str()), denied);
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn where_hosts_may_not_even_be_looked_for_the_machines_are_read_without_them() {
    let mut inner = pages(1);
    let server = server(move |seen| {
        let forbidden = seen.method == "CreateContainerView" && seen.body.contains("HostSystem");
        let inside = "<object type=\"Folder\">group-h4</object><privilegeId>System.View</privilegeId>";
        if forbidden { Some(canned::fault("NoPermission", inside)) } else { inner(seen) }
    })
    .await;
    let session = paged(&server, 100).await;
    let dc = datacenter(&session, "/dc").await;
    let (vms, hosts) = session.fetch_machines(&[&dc], HostVersions::Read).await.unwrap();
    let hosts = hosts.unwrap();
    assert_eq!((vms.rows.len(), hosts.products.len(), hosts.seen), (2, 0, 0));
    let denied = hosts.first_unreadable.unwrap();
    assert_eq!((denied.object.as_str(), denied.privilege.as_str()), ("Folder:group-h4", "System.View"));
    session.logout().await.unwrap();
}

#[tokio::test]
async fn a_fault_of_a_read_with_hosts_is_told_and_ends_the_view() {
    let server = server(|seen| {
        tree(seen)
            .or_else(|| (seen.method == "RetrievePropertiesEx").then(|| canned::fault("InvalidProperty", "")))
    })
    .await;
    let session = session(&server).await;
    let dc = datacenter(&session, "/dc").await;
    let error = session.fetch_machines(&[&dc], HostVersions::Read).await.unwrap_err();
    assert!(matches!(&error, Error::Fault { name, .. } if name == "InvalidProperty"), "{error:?}");
    assert_eq!(server.count("DestroyView"), 1);
    session.logout().await.unwrap();
}

#[tokio::test]
async fn a_session_that_ends_in_mid_read_is_an_error_of_its_own() {
    let mut inner = pages(3);
    let server = server(move |seen| match seen.method.as_str() {
        "ContinueRetrievePropertiesEx" => Some(canned::fault("NotAuthenticated", "")),
        _ => inner(seen),
    })
    .await;
    let session = paged(&server, 100).await;
    let dc = datacenter(&session, "/dc").await;
    let error = session.fetch_vms(&[&dc]).await.unwrap_err();
    assert!(matches!(error, Error::NotAuthenticated), "{error:?}");
    assert_eq!(server.count("DestroyView"), 0, "there is no session to destroy it in");
}

#[tokio::test]
async fn a_view_that_was_left_is_ended_by_the_next_read() {
    for say in [None, Some(Say::Raw(Vec::new()))] {
        let mut inner = pages(3);
        let mut broken = true;
        let hangs = say.is_none();
        let server = server(move |seen| match seen.method.as_str() {
            "ContinueRetrievePropertiesEx" if std::mem::take(&mut broken) => {
                Some(say.clone().unwrap_or(Say::Nothing))
            }
            _ => inner(seen),
        })
        .await;
        let session = paged(&server, 100).await;
        let dc = datacenter(&session, "/dc").await;
        let asked = |record: &support::Record| {
            record.requests.last().is_some_and(|seen| seen.method == "ContinueRetrievePropertiesEx")
        };
        let wanted = [&dc];
        if hangs {
            // Nobody waits any more once the second page was asked for.
            tokio::select! {
                outcome = session.fetch_vms(&wanted) => panic!("{outcome:?}"),
                () = server.until(asked, |_| ()) => {}
            }
        } else {
            let error = session.fetch_vms(&wanted).await.unwrap_err();
            assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        }
        assert_eq!(server.count("DestroyView"), 0);

        let before = server.methods().len();
        assert_eq!(session.fetch_vms(&wanted).await.unwrap().pages, 3);
        assert_eq!(server.methods()[before..][..2], ["DestroyView", "CreateContainerView"]);
        assert_eq!(server.count("DestroyView"), 2);
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_vcenter_runs_into_the_deadline_of_the_call() {
    for say in [Say::Nothing, Say::Drip] {
        let server = server(move |seen| (seen.method == "Login").then(|| say.clone())).await;
        let mut target = target(&server);
        target.limits.call = Duration::from_millis(300);
        let error = session_for(target).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { phase: Phase::Call("Login"), .. }), "{error:?}");
        assert!(error.to_string().ends_with("did not answer within 0.3s (Login)"), "{error}");
        assert_eq!(error.retry(), Retry::Transient);
        // The connection is given up with the call.
        server.quiet(|record| assert_eq!(record.requests.len(), 3)).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_a_lost_connection() {
    for bytes in
        ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<soapenv:"]
    {
        let server =
            server(move |seen| (seen.method == "Login").then(|| Say::Raw(bytes.as_bytes().to_vec()))).await;
        let error = session_for(target(&server)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert_eq!(server.count("Login"), 1, "a login is never repeated");
    }
}

#[tokio::test]
async fn an_answer_over_the_bound_is_refused_announced_or_not() {
    let large = "x".repeat(20_000);
    let announced = canned::answer("Login", &format!("<!--{large}-->"));
    let chunked = Say::Raw(
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            format!("2710\r\n{}\r\n", &large[..10_000]).repeat(3)
        )
        .into_bytes(),
    );
    // Said to be large, and refused before it comes.
    for say in [announced, chunked, Say::Drip] {
        let server = server(move |seen| (seen.method == "Login").then(|| say.clone())).await;
        let mut target = target(&server);
        target.limits.body = 16_000;
        let error = session_for(target).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { method: "Login", limit: 16_000 }), "{error:?}");
    }
}

#[test]
fn every_call_can_be_spawned() {
    fn sent<T: Send>(_: impl Fn(Session) -> T) {}
    sent(|session| async move { session.fetch_vms(&[]).await });
    sent(|session| async move { session.fetch_machines(&[], HostVersions::Read).await });
    sent(|session| async move { session.fetch_datacenters().await });
    sent(|session| async move { session.keepalive().await });
    sent(|session| async move { session.logout().await });
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_a_secret() {
    let server = server(|seen| (seen.method == "Logout").then(|| canned::fault("InvalidState", ""))).await;
    let session = session(&server).await;
    let shown = format!("{session:?}");
    let error = session.logout().await.unwrap_err();
    let shown = format!("{shown} {error} {error:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("52ab-cookie"), "{shown}");
}
