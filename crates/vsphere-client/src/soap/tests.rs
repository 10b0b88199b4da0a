use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::*;

fn written(text: &str) -> Result<String, Unwritable> {
    let mut xml = String::new();
    escape(&mut xml, text).map(|()| xml)
}

/// Reads an answer to `Ask` for the text of `returnval`.
fn answered(xml: &str) -> Result<String, Failed> {
    answered_by(xml.as_bytes())
}

fn answered_by(source: impl BufRead) -> Result<String, Failed> {
    Answer::new(source).envelope("Ask", |answer| {
        let mut value = String::new();
        answer.children(|answer, tag| {
            if tag.vim() == "returnval" {
                value = answer.text()?;
            }
            Ok::<(), Flaw>(())
        })?;
        Ok(value)
    })
}

fn envelope(body: &str) -> String {
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"{ENVELOPE}\" xmlns:xsi=\"{XSI}\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
}

fn answer(value: &str) -> String {
    envelope(&format!("<AskResponse xmlns=\"urn:vim25\"><returnval>{value}</returnval></AskResponse>"))
}

fn flaw(xml: &str) -> &'static str {
    match answered(xml) {
        Err(Failed::Flawed(Flaw(why))) => why,
        other => panic!("{other:?}"),
    }
}

fn fault(body: &str) -> Fault {
    match answered(&envelope(&format!("<soapenv:Fault>{body}</soapenv:Fault>"))) {
        Err(Failed::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_printable_ascii_character_is_written_so_that_it_is_read_back() {
    let all: String = (' '..='~').collect();
    assert_eq!(answered(&answer(&written(&all).unwrap())).unwrap(), all);
    let markup = written("<a b=\"c\">&'</a>]]>").unwrap();
    assert_eq!(markup, "&lt;a b=&quot;c&quot;&gt;&amp;&apos;&lt;/a&gt;]]&gt;");
}

#[test]
fn what_xml_cannot_carry_is_refused() {
    for c in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
        assert_eq!(written(&format!("a{c}b")), Err(Unwritable), "{c:?}");
    }
    for c in ['\t', '\r', '\n', '\u{7f}', '\u{85}', 'é', '\u{2028}', '\u{d7ff}', '\u{e000}', '\u{10ffff}'] {
        assert!(written(&c.to_string()).is_ok(), "{c:?}");
    }
    let mut request = Request::on(&Reference::new("SessionManager", "SessionManager"), "Login").unwrap();
    let error = request.value("password", "s3cret\0").unwrap_err();
    assert!(matches!(error, Error::Unwritable { field: "password" }));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn a_request_is_an_envelope_in_the_interfaces_namespace() {
    let mut request = Request::on(&Reference::new("Folder", "group-d1"), "Ask").unwrap();
    request.value("name", "a&b").unwrap();
    assert_eq!(
        request.into_body(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body>\
         <Ask xmlns=\"urn:vim25\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <_this type=\"Folder\">group-d1</_this><name>a&amp;b</name></Ask></Body></Envelope>"
    );
}

#[test]
fn prefixes_do_not_matter_and_namespaces_do() {
    let other_prefixes = format!(
        "\u{feff}<?xml version=\"1.0\"?>\n<!-- hello --><E xmlns=\"{ENVELOPE}\"><Body>\
         <v:AskResponse xmlns:v='urn:vim25'><v:returnval>x<!-- y --><![CDATA[<z>]]></v:returnval>\
         </v:AskResponse></Body></E>"
    );
    let named = other_prefixes.replace("<E ", "<Envelope ").replace("</E>", "</Envelope>");
    assert_eq!(answered(&named).unwrap(), "x<z>");
    assert_eq!(flaw(&other_prefixes), "it is not a SOAP envelope");
    assert_eq!(
        flaw(&answer("x").replace(ENVELOPE, "http://www.w3.org/2003/05/soap-envelope")),
        "it is not a SOAP envelope"
    );
    assert_eq!(flaw(&answer("x").replace("urn:vim25", "urn:vsan")), "it answers another question");
    assert_eq!(flaw(&answer("x").replace("AskResponse", "AskedResponse")), "it answers another question");
    assert_eq!(flaw(&answer("x").replace("soapenv:Body", "soapenv:Head")), "it has no body");
    // The right name under a foreign namespace is no value of ours.
    let foreign = answer("x").replace("<returnval>", "<returnval xmlns=\"urn:other\">");
    assert_eq!(answered(&foreign).unwrap(), "");
    // A prefix that nobody declared is no namespace.
    let undeclared =
        answer("x").replace("<returnval>", "<v:returnval>").replace("</returnval>", "</v:returnval>");
    assert_eq!(answered(&undeclared).unwrap(), "");
}

#[test]
fn hostile_answers_are_refused_for_what_they_are() {
    let bomb = format!("<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>{}", answer("&b;"));
    assert_eq!(flaw(&bomb), "it has a document type");
    assert_eq!(flaw(&answer("&b;")), "it has an entity of its own");
    for reference in ["&#0;", "&#x1F;", "&#xD800;", "&#xFFFFFFFFFF;", "&#;", "&#x;", "&#-1;", "&#xFFFF;"] {
        let why = flaw(&answer(reference));
        assert!(
            ["it has an entity of its own", "it has a reference to no character"].contains(&why),
            "{reference}: {why}"
        );
    }
    assert_eq!(flaw(&answer("a & b")), "it is not well-formed XML");
    assert_eq!(flaw(&answer(&"<a>".repeat(100_000))), "it is nested too deeply");
    assert_eq!(flaw(&answer(&"x".repeat(TEXT + 1))), "it has a text without end");
    assert_eq!(flaw(&answer(&"&amp;".repeat(TEXT + 1))), "it has a text without end");
    assert_eq!(flaw(&answer("<a></b>")), "it is not well-formed XML");
    assert_eq!(flaw(&answer("x").repeat(2)), "it has more than one root");
    assert_eq!(flaw(&format!("{}garbage", answer("x"))), "it is not XML");
    assert_eq!(flaw("<html><body>hello</body></html>"), "it is not a SOAP envelope");
    assert_eq!(flaw("garbage"), "it is not XML");
    assert_eq!(flaw(""), "it is empty");
    assert_eq!(flaw("</a>"), "it is not well-formed XML");
    let twice = "<AskResponse xmlns=\"urn:vim25\"/>".repeat(2);
    assert_eq!(flaw(&envelope(&twice)), "it answers twice");
    let many: String = (0..=BINDINGS).map(|n| format!(" xmlns:n{n}=\"urn:{n}\"")).collect();
    assert_eq!(flaw(&answer(&format!("<a{many}/>"))), "it is not well-formed XML");
    let latin1 = [answer("").as_bytes(), b"<!-- \xe9 -->"].concat();
    assert_eq!(answered_by(&*latin1), Err(Failed::Flawed(Flaw("it is not well-formed XML"))));
}

#[test]
fn an_answer_cut_anywhere_is_never_an_answer() {
    let whole = answer("a&amp;b<c>d</c>");
    assert_eq!(answered(&whole).unwrap(), "a&b");
    for end in 0..whole.len() {
        assert!(matches!(answered(&whole[..end]), Err(Failed::Flawed(_))), "cut at {end}");
    }
}

#[test]
fn an_answer_in_the_smallest_pieces_is_the_same_answer() {
    let whole = answer(&written("é<>&\"'").unwrap());
    assert_eq!(answered_by(BufReader::with_capacity(1, whole.as_bytes())).unwrap(), "é<>&\"'");
}

#[test]
fn faults_have_the_name_of_their_type() {
    let described = fault(
        "<faultcode>ServerFaultCode</faultcode><faultstring>Cannot complete login due to an incorrect user name \
         or password.</faultstring><detail><InvalidLoginFault xmlns=\"urn:vim25\" xsi:type=\"InvalidLogin\"/></detail>",
    );
    assert_eq!(described.name, "InvalidLogin");
    assert!(matches!(described.into_error("Login"), Error::InvalidLogin));

    let prefixed = fault("<detail><v:F xmlns:v=\"urn:vim25\" xsi:type=\"v:NotAuthenticated\"/></detail>");
    assert!(matches!(prefixed.into_error("Ask"), Error::NotAuthenticated));
    let untyped = fault(
        "<faultcode>soapenv:Server</faultcode><detail><ManagedObjectNotFoundFault xmlns=\"urn:vim25\"/></detail>",
    );
    assert_eq!(untyped.name, "ManagedObjectNotFound");
    let bare =
        fault("<faultcode>soapenv:Server</faultcode><faultstring>Unsupported version URI</faultstring>");
    assert_eq!((bare.name.as_str(), bare.message.as_str()), ("Server", "Unsupported version URI"));
    let empty = fault("");
    assert_eq!(empty, Fault::default());
}

#[test]
fn a_missing_right_names_privilege_and_object() {
    let old = fault(
        "<detail><NoPermissionFault xmlns=\"urn:vim25\" xsi:type=\"NoPermission\">\
         <object type=\"Folder\">group-d1</object><privilegeId>System.View</privilegeId></NoPermissionFault></detail>",
    );
    let new = fault(
        "<detail><NoPermissionFault xmlns=\"urn:vim25\" xsi:type=\"NoPermission\"><missingPrivileges>\
         <entity type=\"Folder\">group-d1</entity><privilegeIds>System.View</privilegeIds>\
         <privilegeIds>System.Read</privilegeIds></missingPrivileges></NoPermissionFault></detail>",
    );
    for fault in [old, new] {
        let error = fault.into_error("Ask");
        assert!(
            matches!(&error, Error::NoPermission { privilege, object }
            if privilege == "System.View" && object == "Folder:group-d1"),
            "{error:?}"
        );
    }
}

#[test]
fn a_faults_text_is_bounded_and_harmless() {
    let long = "x\u{7}\n".repeat(1 << 20);
    let fault = fault(
        &format!("<faultcode>{long}</faultcode><faultstring>a\u{9b}31m\n{long}</faultstring>")
            .replace('\u{7}', "é"),
    );
    assert!(fault.message.starts_with("a") && !fault.message.contains(['\u{9b}', '\n']));
    assert!(fault.name.chars().count() < 300 && fault.message.chars().count() < 300);
}

/// Counts what is taken, to show that a refused answer is not read to its end.
struct Endless {
    head: &'static [u8],
    taken: usize,
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = if self.head.is_empty() { out.len() } else { self.head.len().min(out.len()) };
        if self.head.is_empty() {
            out.fill(b' ');
        } else {
            out[..length].copy_from_slice(&self.head[..length]);
            self.head = &self.head[length..];
        }
        self.taken += length;
        Ok(length)
    }
}

#[test]
fn a_refused_answer_is_not_read_to_its_end() {
    let mut source = Endless { head: b"<html>", taken: 0 };
    let outcome = answered_by(BufReader::with_capacity(64, &mut source));
    assert_eq!(outcome, Err(Failed::Flawed(Flaw("it is not a SOAP envelope"))));
    assert!(source.taken <= 64, "{}", source.taken);
}

/// Bytes that look like an answer here and there.
fn shards() -> impl Strategy<Value = Vec<u8>> {
    let shard = prop_oneof![
        Just(b"<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">".to_vec()),
        Just(b"<soapenv:Body>".to_vec()),
        Just(b"<soapenv:Fault><detail>".to_vec()),
        Just(b"<AskResponse xmlns=\"urn:vim25\"><returnval>".to_vec()),
        Just(b"</returnval></AskResponse></soapenv:Body></soapenv:Envelope>".to_vec()),
        Just(b"<object type=\"Folder\">group-d1</object>".to_vec()),
        Just(b"<missingPrivileges><entity>".to_vec()),
        Just(b"<![CDATA[".to_vec()),
        Just(b"]]>".to_vec()),
        Just(b"<!--".to_vec()),
        Just(b"<!DOCTYPE a [".to_vec()),
        Just(b"<?xml version=\"1.0\" encoding=\"UTF-16\"?>".to_vec()),
        Just(b"&#x".to_vec()),
        Just(b" xsi:type=\"".to_vec()),
        Just(b"<a/>".to_vec()),
        Just(b"</a>".to_vec()),
        any::<[u8; 4]>().prop_map(|bytes| bytes.to_vec()),
    ];
    proptest::collection::vec(shard, 0..24).prop_map(|shards| shards.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>(), shards in shards(), split in 1_usize..9) {
        for source in [&bytes, &shards] {
            let whole = answered_by(&source[..]);
            let pieces = answered_by(BufReader::with_capacity(split, &source[..]));
            prop_assert_eq!(whole, pieces);
            let _ = Answer::new(&source[..]).document("a", |answer| answer.children(|answer, tag| {
                answer.fault(tag).map(drop)
            }));
        }
    }

    #[test]
    fn every_text_is_read_back_or_refused(text in any::<String>()) {
        match written(&text) {
            Ok(xml) => prop_assert_eq!(answered(&answer(&xml)).unwrap(), text),
            Err(Unwritable) => prop_assert!(text.chars().any(|c| !is_xml(c))),
        }
    }
}
