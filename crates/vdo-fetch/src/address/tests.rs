use proptest::prelude::*;

use super::*;
use crate::allowed::is_allowed;

const GOOD: &[(&str, &str)] = &[
    ("https://mirror.example.com/matrix.json", "https://mirror.example.com/matrix.json"),
    ("https://mirror.example.com", "https://mirror.example.com/"),
    ("https://mirror.example.com?v=1", "https://mirror.example.com/?v=1"),
    ("HTTPS://Mirror.Example.COM/Matrix.json", "https://mirror.example.com/Matrix.json"),
    ("https://mirror/matrix", "https://mirror/matrix"),
    ("https://mirror_1.example.com/m", "https://mirror_1.example.com/m"),
    ("https://mirror.example.com:443/m", "https://mirror.example.com/m"),
    ("https://mirror.example.com:8443/m", "https://mirror.example.com:8443/m"),
    ("https://mirror.example.com:65535/m", "https://mirror.example.com:65535/m"),
    ("https://xn--bcher-kva.example/m", "https://xn--bcher-kva.example/m"),
    ("https://192.0.2.7/m", "https://192.0.2.7/m"),
    ("https://10.1.2.3:8443/m", "https://10.1.2.3:8443/m"),
    ("https://172.16.0.1/m", "https://172.16.0.1/m"),
    ("https://192.168.0.1/m", "https://192.168.0.1/m"),
    ("https://[2001:DB8:0::7]/m", "https://[2001:db8::7]/m"),
    ("https://[fd12::7]:8443/m", "https://[fd12::7]:8443/m"),
    ("https://[::ffff:10.0.0.1]/m", "https://[::ffff:a00:1]/m"),
    ("https://mirror.example.com/a//b/", "https://mirror.example.com/a//b/"),
    ("https://mirror.example.com/a@b:c/..m", "https://mirror.example.com/a@b:c/..m"),
    ("https://mirror.example.com/a%20b%C3%A9", "https://mirror.example.com/a%20b%C3%A9"),
    (
        "https://mirror.example.com/m?next=/../%2e%2e&u=a@b",
        "https://mirror.example.com/m?next=/../%2e%2e&u=a@b",
    ),
];

#[test]
fn what_may_be_fetched_is_read_in_every_spelling_and_kept_in_one() {
    for (text, kept) in GOOD {
        let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(address.as_str(), *kept);
        assert_eq!(address.as_str().parse(), Ok(address), "{text}");
    }
}

/// The text, and what the message says about it.
const REFUSED: &[(&str, &str)] = &[
    // Scheme.
    ("", "is empty"),
    ("http://mirror.example.com/m", "only https is fetched: put the content into versionConfigContent"),
    ("http://mirror.example.com/m", "or serve it over https"),
    ("ftp://mirror.example.com/m", "only https"),
    ("file:///etc/shadow", "only https"),
    ("gopher://mirror.example.com:70/_x", "only https"),
    ("data:application/json,%7B%7D", "only https"),
    ("javascript:alert(1)", "only https"),
    ("httpsx://mirror.example.com/", "only https"),
    ("https", "only https"),
    ("//mirror.example.com/m", "only https"),
    ("/m", "only https"),
    ("mirror.example.com/m", "only https"),
    ("mirror.example.com:443/m", "only https"),
    ("me:secret@mirror.example.com/m", "only https"),
    ("https:mirror.example.com/m", "two slashes"),
    ("https:/mirror.example.com/m", "two slashes"),
    ("https:", "two slashes"),
    // Host.
    ("https://", "no host"),
    ("https:///m", "no host"),
    ("https://?m", "no host"),
    ("https://:443/m", "no host"),
    ("https://evil@good", "an @ before its path"),
    ("https://me:secret@mirror.example.com/m", "an @ before its path"),
    ("https://@mirror.example.com/m", "an @ before its path"),
    ("https://mirror.example.com:443@evil.example/", "an @ before its path"),
    ("https://mirror.example.com%2f@evil.example/", "an @ before its path"),
    ("https://mirror.example.com./m", "ends with a dot"),
    ("https://localhost./m", "ends with a dot"),
    ("https://mirror%2eexample.com/m", "without a %"),
    ("https://%31%32%37.0.0.1/m", "without a %"),
    ("https://[fe80::1%25eth0]/m", "without a %"),
    ("https://a..b/m", "neither a name nor an address"),
    ("https://.example.com/m", "neither a name nor an address"),
    ("https://-a.example/m", "neither a name nor an address"),
    ("https://a-.example/m", "neither a name nor an address"),
    ("https://a!b.example/m", "neither a name nor an address"),
    ("https://*.example/m", "neither a name nor an address"),
    ("https://2001:db8::7/m", "an IPv6 address stands in brackets"),
    ("https://[2001:db8::7/m", "neither a name nor an address"),
    ("https://[2001:db8::g]/m", "neither a name nor an address"),
    ("https://[2001:db8::7]x/m", "neither a name nor an address"),
    ("https://[2001:db8::7]443/m", "neither a name nor an address"),
    ("https://[192.0.2.7]/m", "neither a name nor an address"),
    ("https://[v1.fe80]/m", "neither a name nor an address"),
    ("https://[]/m", "neither a name nor an address"),
    ("https://xn--a/m", "neither a name nor an address"),
    ("https://localhost/m", "a name of this machine itself"),
    ("https://LOCALHOST:8443/m", "a name of this machine itself"),
    ("https://api.localhost/m", "a name of this machine itself"),
    // Numbers.
    ("https://127.0.0.1/m", "127.0.0.1, a loopback address"),
    ("https://127.9.9.9/m", "a loopback address"),
    ("https://169.254.169.254/latest/meta-data", "169.254.169.254, a link-local address"),
    ("https://0.0.0.0/m", "the unspecified address"),
    ("https://224.0.0.1/m", "a multicast address"),
    ("https://255.255.255.255/m", "the broadcast address"),
    ("https://100.100.100.200/m", "the address of a metadata service"),
    ("https://[::1]/m", "::1, a loopback address"),
    ("https://[0:0:0:0:0:0:0:1]:8443/m", "a loopback address"),
    ("https://[::]/m", "the unspecified address"),
    ("https://[fe80::1]/m", "a link-local address"),
    ("https://[ff02::1]/m", "a multicast address"),
    ("https://[fd00:ec2::254]/m", "the address of a metadata service"),
    ("https://[::ffff:127.0.0.1]/m", "a loopback address"),
    ("https://[::ffff:a9fe:a9fe]/m", "a link-local address"),
    ("https://[::127.0.0.1]/m", "a loopback address"),
    ("https://[64:ff9b::169.254.169.254]/m", "a link-local address"),
    ("https://[2002:7f00:1::]/m", "a loopback address"),
    ("https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/m", "a loopback address"),
    ("https://2130706433/m", "write all four parts in plain decimal"),
    ("https://0x7f000001/m", "write all four parts in plain decimal"),
    ("https://0x7f.1/m", "write all four parts in plain decimal"),
    ("https://0177.0.0.1/m", "write all four parts in plain decimal"),
    ("https://127.1/m", "write all four parts in plain decimal"),
    ("https://192.0.2.07/m", "write all four parts in plain decimal"),
    ("https://192.0.513/m", "write all four parts in plain decimal"),
    ("https://999.1.1.1/m", "write all four parts in plain decimal"),
    ("https://1.2.3.4.5/m", "write all four parts in plain decimal"),
    // Port.
    ("https://mirror.example.com:0/m", "not a number from 1 to 65535"),
    ("https://mirror.example.com:65536/m", "not a number from 1 to 65535"),
    ("https://mirror.example.com:/m", "not a number from 1 to 65535"),
    ("https://mirror.example.com:0443/m", "without leading zeros"),
    ("https://mirror.example.com:+443/m", "not a number from 1 to 65535"),
    ("https://mirror.example.com:https/m", "not a number from 1 to 65535"),
    ("https://[2001:db8::7]:0/m", "not a number from 1 to 65535"),
    // Characters.
    (" https://mirror.example.com/m", "character 1 of the address is a blank"),
    ("https://mirror.example.com/m ", "character 29 of the address is a blank"),
    ("https://mirror.example.com/\u{a0}m", "a blank: remove it"),
    ("ht\ttps://mirror.example.com/m", "character 3 of the address is a tab, line break"),
    ("https://mirror.example.com/m\n", "a tab, line break or other control character"),
    ("https://mirror.example.com/\r\nX: y", "a tab, line break or other control character"),
    ("https://mirror.example.com/\0", "a tab, line break or other control character"),
    ("https://mirror.example.com/\u{85}", "a tab, line break or other control character"),
    ("https://mirror.example.com/\u{7f}", "a tab, line break or other control character"),
    ("https:\\\\mirror.example.com\\m", "a backslash: write / instead"),
    ("https://mirror.example.com\\@evil.example/", "a backslash"),
    ("https://mirrör.example.com/m", "write a host in its xn-- form"),
    ("https://１２７.0.0.1/m", "not in ASCII"),
    ("https://mirror\u{3002}example.com/m", "not in ASCII"),
    ("https://mirror\u{200b}.example.com/m", "not in ASCII"),
    ("https://mirror.example.com/\u{202e}nosj", "not in ASCII"),
    ("https://mirror.example.com/{m}", "write it percent-encoded"),
    ("https://mirror.example.com/\"m\"", "write it percent-encoded"),
    ("https://mirror.example.com/<m>", "write it percent-encoded"),
    ("https://mirror.example.com/a|b", "write it percent-encoded"),
    ("https://mirror.example.com/a[1]", "character 29 of the address is one that"),
    ("https://mirror.example.com/m?a[]=1", "write it percent-encoded"),
    // Path and fragment.
    ("https://mirror.example.com/m#top", "leave out the #"),
    ("https://mirror.example.com#@evil.example/", "leave out the #"),
    ("https://mirror.example.com/%2e%2e/m", "percent-encoded dot"),
    ("https://mirror.example.com/a/%2E./m", "percent-encoded dot"),
    ("https://mirror.example.com/a%2fb", "percent-encoded dot, slash"),
    ("https://mirror.example.com/a%5Cb", "backslash"),
    ("https://mirror.example.com/%252e%252e/m", "percent sign"),
    ("https://mirror.example.com/a%00", "control character"),
    ("https://mirror.example.com/a%0d%0aX:y", "control character"),
    ("https://mirror.example.com/a%", "a % without two digits"),
    ("https://mirror.example.com/a%2", "a % without two digits"),
    ("https://mirror.example.com/a%+1", "a % without two digits"),
    ("https://mirror.example.com/a%zz", "a % without two digits"),
    ("https://mirror.example.com/../m", "a part that is . or .."),
    ("https://mirror.example.com/a/./m", "a part that is . or .."),
    ("https://mirror.example.com/a/..?m", "a part that is . or .."),
];

#[test]
fn what_may_not_be_fetched_is_refused_with_its_reason() {
    for (text, reason) in REFUSED {
        let error = text.parse::<Address>().expect_err(text);
        let shown = error.to_string();
        assert!(shown.contains(reason), "{text:?}: {shown}");
        assert!(!shown.contains("secret") && !shown.chars().any(char::is_control), "{text:?}: {shown}");
    }
}

#[test]
fn an_address_has_at_most_2048_characters() {
    let start = "https://mirror.example.com/";
    let longest = format!("{start}{}", "a".repeat(2_048 - start.len()));
    assert!(longest.parse::<Address>().is_ok());
    let error = format!("{longest}a").parse::<Address>().unwrap_err();
    assert_eq!(error, AddressError::TooLong { characters: 2_049 });
    assert!(format!("{start}{}", "é".repeat(3_000)).parse::<Address>().is_err());
}

#[test]
fn a_host_has_at_most_63_characters_between_dots_and_253_in_all() {
    let label = "a".repeat(63);
    assert!(format!("https://{label}.example/").parse::<Address>().is_ok());
    assert_eq!(format!("https://a{label}.example/").parse::<Address>(), Err(AddressError::Host));
    let long = [label.as_str(); 4].join(".");
    assert_eq!(format!("https://{long}/").parse::<Address>(), Err(AddressError::Host));
}

#[test]
fn an_address_is_shown_without_its_query() {
    let address: Address = "https://mirror.example.com/m?token=hunter2".parse().unwrap();
    assert_eq!(address.to_string(), "https://mirror.example.com/m?…");
    assert_eq!(format!("{address:?}"), "https://mirror.example.com/m?…");
}

#[test]
fn the_parts_of_an_address_are_what_a_request_needs() {
    let address: Address = "https://[2001:DB8::7]:8443/a/m?v=1".parse().unwrap();
    assert_eq!((address.host().as_str(), address.port()), ("2001:db8::7", 8443));
    assert_eq!(address.authority(), "[2001:db8::7]:8443");
    assert_eq!(address.target(), "/a/m?v=1");
    assert_eq!(address.literal(), Some("2001:db8::7".parse().unwrap()));
    let address: Address = "https://Mirror.example.com".parse().unwrap();
    assert_eq!((address.host().as_str(), address.port()), ("mirror.example.com", 443));
    assert_eq!((address.authority(), address.literal()), ("mirror.example.com", None));
    assert_eq!(address.target(), "/");
}

#[test]
fn a_redirect_is_read_from_where_it_came() {
    let from: Address = "https://mirror.example.com:8443/a/b/m?v=1".parse().unwrap();
    for (location, expected) in [
        ("https://other.example/n", "https://other.example/n"),
        ("HTTPS://other.example/n", "https://other.example/n"),
        ("//other.example/n", "https://other.example/n"),
        ("/n?w=2", "https://mirror.example.com:8443/n?w=2"),
        ("n", "https://mirror.example.com:8443/a/b/n"),
        ("c/n", "https://mirror.example.com:8443/a/b/c/n"),
        ("?w=2", "https://mirror.example.com:8443/a/b/m?w=2"),
    ] {
        assert_eq!(from.redirected(location).unwrap().as_str(), expected, "{location}");
    }
}

#[test]
fn a_redirect_is_judged_as_the_server_wrote_it() {
    let from: Address = "https://mirror.example.com/a/m".parse().unwrap();
    for (location, reason) in [
        ("", "is empty"),
        ("http://mirror.example.com/a/m", "only https"),
        ("file:///etc/shadow", "only https"),
        ("mailto:me", "only https"),
        ("https:n", "two slashes"),
        ("https://169.254.169.254/latest", "a link-local address"),
        ("//169.254.169.254/latest", "a link-local address"),
        ("//0x7f.1/", "plain decimal"),
        ("///n", "no host"),
        ("/\\evil.example", "a backslash"),
        ("\\\\evil.example", "a backslash"),
        ("@evil.example", "https://mirror.example.com/a/@evil.example"),
        ("../n", "a part that is . or .."),
        ("/%2e%2e/n", "percent-encoded dot"),
        ("//me:secret@evil.example/", "an @ before its path"),
        ("#top", "leave out the #"),
        ("n n", "a blank"),
    ] {
        let shown = match from.redirected(location) {
            // What looks like a trick and is only a path.
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(reason), "{location:?}: {shown}");
    }
}

/// Pieces of which addresses and traps are made.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "https://", "https:", "http://", "HTTPS://", "/", "//", "?", "#", "@", ":", "\\", "%", "%2e", "%2f", "%25",
            ".", "..", "[", "]", "::1", "::ffff:", "64:ff9b::", "2002:7f00:1::", "fe80::1", "127.0.0.1", "127.1",
            "169.254.169.254", "10.0.0.1", "0x7f", "017700000001", "2130706433", "localhost", "example.com", "xn--",
            "a", "-", "_", "443", "0", "65536", "\t", "\n", " ", "\u{ff0e}", "\u{3002}", "ß", "\u{ad}",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

fn address_like() -> impl Strategy<Value = String> {
    let pieces = || prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![any::<String>(), pieces(), pieces().prop_map(|rest| format!("https://{rest}"))]
}

/// Whatever is accepted is https, goes to a host that is allowed, and is read the same by the parser of browsers.
fn holds(text: &str) -> Result<(), TestCaseError> {
    let Ok(address) = text.parse::<Address>() else { return Ok(()) };
    let url = Url::parse(address.as_str()).unwrap();
    prop_assert_eq!(url.scheme(), "https");
    prop_assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None));
    prop_assert_eq!(url.port_or_known_default(), Some(address.port()));
    prop_assert!(address.port() != 0);
    let host = match url.host().unwrap() {
        Host::Domain(name) => {
            prop_assert!(name.parse::<IpAddr>().is_err() && !name.ends_with('.') && name != "localhost");
            prop_assert!(name.is_ascii());
            name.to_owned()
        }
        Host::Ipv4(four) => {
            prop_assert!(is_allowed(IpAddr::V4(four)));
            // As it was written: no other spelling of a number gets here.
            prop_assert!(text.contains(&four.to_string()));
            four.to_string()
        }
        Host::Ipv6(six) => {
            prop_assert!(is_allowed(IpAddr::V6(six)));
            six.to_string()
        }
    };
    prop_assert_eq!(&host, &address.host());
    // The parser had nothing to mend in the path.
    let before_query = text["https://".len()..].split('?').next().unwrap_or_default();
    let path = before_query.split_once('/').map_or(String::from("/"), |(_, rest)| format!("/{rest}"));
    prop_assert_eq!(url.path(), path);
    let again = address.as_str().parse::<Address>();
    prop_assert_eq!(again, Ok(address));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_what_is_accepted_is_https_to_an_allowed_host(text in address_like()) {
        holds(&text)?;
    }

    #[test]
    fn a_redirect_never_panics_and_never_leaves_https(location in address_like()) {
        let from: Address = "https://mirror.example.com/a/m".parse().unwrap();
        if let Ok(to) = from.redirected(&location) {
            holds(to.as_str())?;
        }
    }
}

#[test]
fn the_addresses_of_the_table_hold_what_the_property_says() {
    for (text, _) in GOOD {
        holds(text).unwrap();
    }
}
