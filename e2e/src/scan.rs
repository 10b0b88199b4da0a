//! Looks for passwords in bytes of whatever kind, in every form in which a program may have written them.
//!
//! Pure: a story collects the bytes. What is searched for are whole encodings of the password, and encodings of its
//! longest run of letters and digits, which no escape changes: so one escape inside another is found, too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// The fewest letters and digits in a row: fewer might stand somewhere by chance.
pub const SHORTEST: usize = 16;
/// How many bytes of a needle are looked up at once; no needle is shorter.
const HEAD: usize = 8;

/// One form of one password. It has no `Debug`: whatever holds it could print it.
struct Needle {
    label: String,
    form: String,
    bytes: Vec<u8>,
}

/// A password that was found. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What was searched.
    pub place: String,
    /// What the password is called.
    pub label: String,
    /// How it was written.
    pub form: String,
    /// Where it stands first.
    pub offset: usize,
    /// How often it stands there.
    pub count: usize,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hit { place, label, form, offset, count } = self;
        write!(f, "{place}: {label} as {form}, {count} times, first at byte {offset}")
    }
}

/// Every form of some passwords, made to be found in one walk over the bytes.
pub struct Scanner {
    needles: Vec<Needle>,
    /// By their first bytes.
    heads: HashMap<[u8; HEAD], Vec<usize>>,
    /// Which pairs of bytes begin a needle: most places of most bytes end here.
    pairs: Vec<bool>,
}

impl Scanner {
    /// For these passwords, each with what it is called. Each needs [`SHORTEST`] letters and digits in a row.
    pub fn new(secrets: &[(&str, &str)]) -> Result<Scanner> {
        let mut needles = Vec::new();
        for (label, secret) in secrets {
            ensure!(
                core(secret).len() >= SHORTEST,
                "{label} has fewer than {SHORTEST} plain characters in a row"
            );
            // Some escapes agree about some characters; the first name stands for all of them.
            let mut seen = HashSet::new();
            for (form, bytes) in forms(secret) {
                if seen.insert(bytes.clone()) {
                    needles.push(Needle { label: (*label).to_owned(), form, bytes });
                }
            }
        }
        let mut heads: HashMap<[u8; HEAD], Vec<usize>> = HashMap::new();
        let mut pairs = vec![false; 1 << 16];
        for (index, needle) in needles.iter().enumerate() {
            let head =
                *needle.bytes.first_chunk::<HEAD>().expect("an encoding is not shorter than what it encodes");
            heads.entry(head).or_default().push(index);
            pairs[pair(head[0], head[1])] = true;
        }
        Ok(Scanner { needles, heads, pairs })
    }

    /// How many forms of all passwords are looked for.
    pub fn count(&self) -> usize {
        self.needles.len()
    }

    /// What of the passwords is in these bytes.
    pub fn scan(&self, place: &str, bytes: &[u8]) -> Vec<Hit> {
        let mut found: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (offset, two) in bytes.windows(2).enumerate() {
            if !self.pairs[pair(two[0], two[1])] {
                continue;
            }
            let rest = &bytes[offset..];
            let Some(candidates) = rest.first_chunk::<HEAD>().and_then(|head| self.heads.get(head)) else {
                continue;
            };
            for index in candidates.iter().filter(|index| rest.starts_with(&self.needles[**index].bytes)) {
                found.entry(*index).or_insert((offset, 0)).1 += 1;
            }
        }
        let hit = |(index, (offset, count))| {
            let Needle { label, form, .. } = &self.needles[index];
            Hit { place: place.to_owned(), label: label.clone(), form: form.clone(), offset, count }
        };
        found.into_iter().map(hit).collect()
    }

    /// The forms that it would miss if they stood in the middle of these bytes: none, if it can see there.
    pub fn blind_to(&self, bytes: &[u8]) -> Vec<String> {
        let (before, after) = bytes.split_at(bytes.len() / 2);
        let mut fed = before.to_vec();
        for needle in &self.needles {
            fed.extend(&needle.bytes);
            fed.push(b'\n');
        }
        fed.extend(after);
        let seen: HashSet<_> = self.scan("", &fed).into_iter().map(|hit| (hit.label, hit.form)).collect();
        let missed = self.needles.iter().filter(|it| !seen.contains(&(it.label.clone(), it.form.clone())));
        missed.map(|it| format!("{} as {}", it.label, it.form)).collect()
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// The longest run of ASCII letters and digits.
fn core(secret: &str) -> &str {
    let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
    runs.max_by_key(|run| run.len()).unwrap_or_default()
}

/// Every form, with its name.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let core = core(secret);
    let texts = texts(secret);
    let mut all: Vec<(String, Vec<u8>)> =
        texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into_bytes())).collect();
    let mut add = |name: String, bytes: Vec<u8>| all.push((name, bytes));
    add("its letters and digits".to_owned(), core.into());
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    add("reversed bytes".to_owned(), reversed(secret.as_bytes()));
    add("reversed letters and digits".to_owned(), reversed(core.as_bytes()));
    add("Latin-1".to_owned(), secret.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect());

    // What is encoded once more, byte by byte.
    let mut inner: Vec<(&str, Vec<u8>)> = vec![
        ("its letters and digits", core.into()),
        ("reversed letters and digits", reversed(core.as_bytes())),
    ];
    let escaped = ["raw", "reversed", "JSON", "JSON for HTML", "JSON in ASCII", "XML", "URL"];
    inner.extend(
        texts.iter().filter(|it| escaped.contains(&it.0)).map(|(name, text)| (*name, text.clone().into())),
    );
    for (name, text) in [("it", secret), ("its letters and digits", core)] {
        for (order, wide) in wide(text) {
            add(format!("{order} of {name}"), wide.clone());
            if text == core {
                inner.push((order, wide));
            }
        }
    }
    for (name, bytes) in &inner {
        for (alphabet, index, text) in base64(bytes) {
            add(format!("{alphabet} of {name}, {index} bytes into a group"), text.clone().into());
            if *name == "its letters and digits" {
                for (alphabet, outer, twice) in base64(text.as_bytes()) {
                    let form = format!("{alphabet} of that ({index}) of {name}, {outer} bytes into a group");
                    add(form, twice.into());
                }
            }
        }
        let lower = joined(bytes, "", |byte| format!("{byte:02x}"));
        add(format!("upper hex of {name}"), lower.to_uppercase().into());
        add(format!("hex of {name}"), lower.into());
    }
    // As byte strings are shown by those who take them for lists.
    for (name, bytes) in &inner[..2] {
        for separator in [", ", ",", " "] {
            add(
                format!("numbers of {name} between {separator:?}"),
                joined(bytes, separator, u8::to_string).into(),
            );
        }
        for separator in [" ", ":", ", 0x", "-"] {
            let form = format!("hex of {name} between {separator:?}");
            add(form, joined(bytes, separator, |byte| format!("{byte:02x}")).into());
        }
    }
    all
}

/// What is done to a text character by character.
fn each(text: &str, escape: impl Fn(char) -> Option<String>) -> String {
    text.chars().map(|c| escape(c).unwrap_or_else(|| c.to_string())).collect()
}

fn joined(bytes: &[u8], separator: &str, show: impl Fn(&u8) -> String) -> String {
    bytes.iter().map(show).collect::<Vec<_>>().join(separator)
}

/// UTF-16 in both orders.
fn wide(text: &str) -> [(&'static str, Vec<u8>); 2] {
    let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    [("UTF-16LE", units(u16::to_le_bytes)), ("UTF-16BE", units(u16::to_be_bytes))]
}

/// Base64 in both alphabets, for each place in a group of three bytes where the text may begin: what is the same
/// whatever stands before and after it.
fn base64(text: &[u8]) -> Vec<(&'static str, usize, String)> {
    let mut all = Vec::new();
    for (alphabet, engine) in [("base64", BASE64_STANDARD_NO_PAD), ("URL base64", BASE64_URL_SAFE_NO_PAD)] {
        for index in 0..3 {
            let whole = [&[0; 3][..index], text].concat();
            let encoded = engine.encode(&whole);
            // A character of which some bits are a neighbour's is not ours.
            let first = [0, 2, 3][index];
            let last = encoded.len() - usize::from(whole.len() % 3 != 0);
            all.push((alphabet, index, encoded[first..last].to_owned()));
        }
    }
    all
}

/// The escapes of text formats.
fn texts(secret: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![("raw", secret.to_owned()), ("reversed", secret.chars().rev().collect())];
    json(secret, &mut all);
    xml(secret, &mut all);
    url(secret, &mut all);
    // What languages and shells print of a string.
    all.push(("Rust escape", secret.escape_default().to_string()));
    all.push(("escaped bytes", secret.as_bytes().escape_ascii().to_string()));
    let quoted = |c| matches!(c, '"' | '\\').then(|| format!("\\{c}"));
    let outside = |show: fn(&u8) -> String| {
        each(secret, |c| {
            let bytes = c.to_string().into_bytes();
            if c.is_ascii() { quoted(c) } else { Some(joined(&bytes, "", show)) }
        })
    };
    all.push(("upper escaped bytes", outside(|byte| format!("\\x{byte:02X}"))));
    all.push(("octal", outside(|byte| format!("\\{byte:03o}"))));
    all.push((
        "YAML",
        each(secret, |c| if c.is_ascii() { quoted(c) } else { Some(format!("\\x{:02X}", c as u32)) }),
    ));
    all.push(("YAML in single quotes", secret.replace('\'', "''")));
    all.push(("shell in single quotes", secret.replace('\'', r"'\''")));
    all.push(("shell in double quotes", each(secret, |c| "\"\\$`!".contains(c).then(|| format!("\\{c}")))));
    all.push((
        "shell",
        each(secret, |c| {
            let plain = c.is_alphanumeric() || "_-./,:+%@=".contains(c);
            (!plain).then(|| format!("\\{c}"))
        }),
    ));
    all
}

/// Which characters are meant.
type Rule<'a> = &'a dyn Fn(char) -> bool;

fn json(secret: &str, all: &mut Vec<(&'static str, String)>) {
    let unit = |c: char, upper: bool| {
        let mut units = [0; 2];
        let mut text = String::new();
        for unit in c.encode_utf16(&mut units) {
            let _ = if upper { write!(text, "\\u{unit:04X}") } else { write!(text, "\\u{unit:04x}") };
        }
        text
    };
    let quoted = |c: char| matches!(c, '"' | '\\').then(|| format!("\\{c}"));
    // Which characters are written as numbers, how, and whether slashes are escaped, as PHP does.
    let json = |text: &str, numbers: Rule<'_>, upper: bool, slash: bool| {
        each(text, |c| match c {
            c if numbers(c) => Some(unit(c, upper)),
            '/' if slash => Some(r"\/".to_owned()),
            c => quoted(c),
        })
    };
    let none = |_: char| false;
    let html = |c: char| "<>&".contains(c);
    let marks = |c: char| "<>&'\"+".contains(c);
    let beyond = |c: char| !c.is_ascii();
    let plain = |text: &str| json(text, &none, false, false);
    all.push(("JSON", plain(secret)));
    all.push(("JSON in JSON", plain(&plain(secret))));
    all.push(("JSON in JSON in JSON", plain(&plain(&plain(secret)))));
    let go = |text: &str| json(text, &html, false, false);
    all.push(("JSON for HTML in JSON for HTML", go(&go(secret))));
    all.push(("JSON in JSON for HTML", go(&plain(secret))));
    let rows: [(&str, &str, Rule<'_>); 6] = [
        ("JSON for HTML", "upper JSON for HTML", &html),
        ("JSON in ASCII", "upper JSON in ASCII", &beyond),
        ("JSON for HTML in ASCII", "upper JSON for HTML in ASCII", &|c| html(c) || beyond(c)),
        ("JSON with marks as numbers", "upper JSON with marks as numbers", &marks),
        ("JSON with marks as numbers in ASCII", "upper JSON with marks as numbers in ASCII", &|c| {
            marks(c) || beyond(c)
        }),
        ("JSON of numbers", "upper JSON of numbers", &|_| true),
    ];
    for (name, upper, numbers) in rows {
        all.push((name, json(secret, numbers, false, false)));
        all.push((upper, json(secret, numbers, true, false)));
    }
    all.push(("JSON with slashes", json(secret, &none, false, true)));
    all.push(("JSON with slashes in ASCII", json(secret, &beyond, false, true)));
}

fn xml(secret: &str, all: &mut Vec<(&'static str, String)>) {
    let named = |c: char| {
        let name = match c {
            '&' => "amp",
            '<' => "lt",
            '>' => "gt",
            '"' => "quot",
            '\'' => "apos",
            _ => return None,
        };
        Some(format!("&{name};"))
    };
    let text = |c: char| if "&<>".contains(c) { named(c) } else { None };
    let attribute = |c: char| if c == '\'' { None } else { named(c) };
    let decimal = |c: char| Some(format!("&#{};", c as u32));
    let hex = |c: char| Some(format!("&#x{:x};", c as u32));
    let upper = |c: char| Some(format!("&#x{:X};", c as u32));
    let special = |c: char| "&<>\"'".contains(c);
    let beyond = |c: char, otherwise: Option<String>| if c.is_ascii() { otherwise } else { decimal(c) };
    let xml = each(secret, named);
    all.push(("XML in XML", each(&xml, named)));
    all.push(("XML", xml));
    all.push(("XML in ASCII", each(secret, |c| beyond(c, named(c)))));
    all.push(("XML in ASCII by hex", each(secret, |c| if c.is_ascii() { named(c) } else { upper(c) })));
    all.push(("XML text", each(secret, text)));
    all.push(("XML text in ASCII", each(secret, |c| beyond(c, text(c)))));
    // A > may stand for itself.
    all.push(("XML of few escapes", each(secret, |c| if c == '>' { None } else { text(c) })));
    all.push(("XML attribute", each(secret, attribute)));
    let quotes = |c: char| "\"'".contains(c);
    all.push(("XML with quotes as numbers", each(secret, |c| if quotes(c) { decimal(c) } else { named(c) })));
    all.push(("HTML", each(secret, |c| if c == '\'' { hex(c) } else { named(c) })));
    all.push(("HTML with one number", each(secret, |c| if c == '\'' { decimal(c) } else { named(c) })));
    all.push(("XML by numbers", each(secret, |c| if special(c) { decimal(c) } else { None })));
    all.push((
        "XML by numbers in ASCII",
        each(secret, |c| if special(c) { decimal(c) } else { beyond(c, None) }),
    ));
    all.push(("XML by hex", each(secret, |c| if special(c) { hex(c) } else { None })));
    all.push(("XML by upper hex", each(secret, |c| if special(c) { upper(c) } else { None })));
    all.push(("XML of numbers", each(secret, decimal)));
    all.push(("XML of hex", each(secret, hex)));
    all.push(("XML of upper hex", each(secret, upper)));
}

fn url(secret: &str, all: &mut Vec<(&'static str, String)>) {
    let percent = |c: char| -> String { c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect() };
    // What stands for itself differs from one part of a URL, and from one library, to the next.
    let url = |text: &str, itself: &str| {
        each(text, |c| (!c.is_ascii_alphanumeric() && !itself.contains(c)).then(|| percent(c)))
    };
    // Only the digits of the escapes, not the letters of the password.
    let lower = |text: &str, itself: &str| {
        each(text, |c| (!c.is_ascii_alphanumeric() && !itself.contains(c)).then(|| percent(c).to_lowercase()))
    };
    let form = |text: String| text.replace("%20", "+");
    all.push(("URL in URL", url(&url(secret, "-_.~"), "-_.~")));
    all.push(("URL", url(secret, "-_.~")));
    all.push(("lower URL", lower(secret, "-_.~")));
    all.push(("URL form", form(url(secret, "-_.~"))));
    all.push(("lower URL form", form(lower(secret, "-_.~"))));
    all.push(("URL form of a browser", form(url(secret, "-_.*"))));
    all.push(("URL component", url(secret, "-_.~!*'()")));
    all.push(("URL path segment", url(secret, "-_.~$&+=:@")));
    all.push(("URL path", url(secret, "-_.~$&+=:@/!*'(),;")));
    all.push(("URL user", url(secret, "-_.~$&+,/;=")));
    all.push(("URL user as the standard has it", url(secret, "-_.~!$&'()*+,;=")));
    all.push(("URL as a whole", url(secret, "-_.~!*'();:@&=+$,/?#")));
    all.push(("URL of numbers", each(secret, |c| Some(percent(c)))));
    all.push(("lower URL of numbers", each(secret, |c| Some(percent(c).to_lowercase()))));
}

#[cfg(test)]
mod tests;
