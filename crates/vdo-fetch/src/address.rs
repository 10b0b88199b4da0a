//! What may be fetched: an address that is judged as it was written, before a parser mends it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use url::{Host, ParseError, Position, Url};

use crate::allowed::{Forbidden, forbidden};

/// The longest address, in characters.
const LONGEST: usize = 2_048;

/// A checked https address.
///
/// It has no user, no password and no fragment, nothing in it reads differently to another program, and a host
/// that is written as a number is one that [`is_allowed`](crate::is_allowed) admits. It is shown without its
/// query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    server: ServerName<'static>,
    target: PathAndQuery,
}

/// Why a text is no address to fetch from. The text is not repeated, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("the address is empty: write https:// and the place of the document")]
    Empty,
    /// More than an address may have.
    #[error("the address has {characters} characters and at most {limit} are read: use a shorter one", limit = LONGEST)]
    TooLong {
        /// How many were given.
        characters: usize,
    },
    /// A character that programs read in different ways.
    #[error("character {position} of the address is {what}: {remedy}", remedy = what.remedy())]
    Character {
        /// What it is.
        what: Character,
        /// Counted from one.
        position: usize,
    },
    /// Another scheme than https, or none.
    #[error(
        "the address does not begin with https://, and only https is fetched: put the content into \
         versionConfigContent, or serve it over https"
    )]
    NotHttps,
    /// `https:/host` or `https:host`, which some programs mend.
    #[error("after https: come two slashes and the host: write https://host/path")]
    Slashes,
    /// Nothing between the slashes.
    #[error("the address has no host: write https://host/path")]
    NoHost,
    /// A user name or a password, or something that looks like one and hides the host.
    #[error("the address has an @ before its path, and no user or password is sent: leave it out")]
    UserInfo,
    /// A part that is never sent to a server.
    #[error("the address has a fragment, which no server sees: leave out the # and what follows")]
    Fragment,
    /// A `%` in the host.
    #[error("the host has a percent-encoded character or a zone: write the host out, without a %")]
    EncodedHost,
    /// A dot after the host.
    #[error("the host ends with a dot: leave the dot out")]
    FinalDot,
    /// Something that is neither a name nor a number.
    #[error(
        "the host is neither a name nor an address: a name has letters, digits, hyphens and dots, an IPv6 \
         address stands in brackets"
    )]
    Host,
    /// An IPv4 address in decimal, octal or hexadecimal, or with fewer than four parts.
    #[error("the host is a number that programs read differently: write all four parts in plain decimal")]
    Spelling,
    /// A name that stands for this machine.
    #[error(
        "the host is a name of this machine itself, which nothing is fetched from: use the server's own name"
    )]
    ThisMachine,
    /// A number that nothing is fetched from.
    #[error("the host is {address}, {why}, which nothing is fetched from: use another address of the server")]
    NotAllowed {
        /// The address.
        address: IpAddr,
        /// Why.
        why: Forbidden,
    },
    /// A port that is none.
    #[error(
        "the port is not a number from 1 to 65535 without leading zeros: correct it, or leave it out for 443"
    )]
    Port,
    /// A dot, a slash or a control character in disguise.
    #[error(
        "the path has a percent-encoded dot, slash, backslash, percent sign or control character, or a % \
         without two digits: write it out, or rename the document"
    )]
    EncodedPath,
    /// `.` or `..` as a part of the path.
    #[error("the path has a part that is . or ..: write the path that is meant")]
    DotSegment,
    /// Refused by the parser, although every rule above held.
    #[error("the address cannot be read: check it by opening it in a browser")]
    Unreadable,
}

/// A character that no address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// A tab, a line break or another control character.
    Control,
    /// A blank.
    Blank,
    /// A backslash, which some programs take for a slash.
    Backslash,
    /// A letter or sign outside of ASCII.
    NotAscii,
    /// A bracket outside of the host, a quotation mark and others that have to be encoded.
    Unsafe,
}

impl Character {
    fn remedy(self) -> &'static str {
        match self {
            Self::Control | Self::Blank => "remove it",
            Self::Backslash => "write / instead",
            Self::NotAscii => "write a host in its xn-- form, and anything else percent-encoded",
            Self::Unsafe => "write it percent-encoded",
        }
    }
}

impl fmt::Display for Character {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "a tab, line break or other control character",
            Self::Blank => "a blank",
            Self::Backslash => "a backslash",
            Self::NotAscii => "not in ASCII",
            Self::Unsafe => "one that an address cannot have there",
        })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        judge_characters(text)?;
        let rest = after_scheme(text)?;
        if rest.contains('#') {
            return Err(AddressError::Fragment);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = judge_authority(authority)?;
        judge_path(tail.split('?').next().unwrap_or_default())?;
        if let Some(at) = tail.find(['[', ']']) {
            let position = text.len() - tail.len() + at + 1;
            return Err(AddressError::Character { what: Character::Unsafe, position });
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidIpv4Address => AddressError::Spelling,
            _ => AddressError::Host,
        })?;
        let server = judge_host(&url, host)?;
        let target = url[Position::BeforePath..Position::AfterQuery].parse();
        Ok(Self { url, server, target: target.map_err(|_| AddressError::Unreadable)? })
    }
}

fn judge_characters(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let characters = text.chars().count();
    if characters > LONGEST {
        return Err(AddressError::TooLong { characters });
    }
    let wrong = text.chars().enumerate().find_map(|(index, c)| Some((index + 1, wrong_character(c)?)));
    match wrong {
        Some((position, what)) => Err(AddressError::Character { what, position }),
        None => Ok(()),
    }
}

/// What an address is made of by RFC 3986; `#`, `%`, `@` and brackets are looked at where they stand.
fn wrong_character(c: char) -> Option<Character> {
    match c {
        ' ' => Some(Character::Blank),
        '\\' => Some(Character::Backslash),
        'a'..='z' | 'A'..='Z' | '0'..='9' => None,
        '-' | '.' | '_' | '~' | '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | ';' | '=' => None,
        ':' | '@' | '/' | '?' | '#' | '%' | '[' | ']' => None,
        _ if c.is_control() => Some(Character::Control),
        _ if c.is_whitespace() => Some(Character::Blank),
        _ if c.is_ascii() => Some(Character::Unsafe),
        _ => Some(Character::NotAscii),
    }
}

fn after_scheme(text: &str) -> Result<&str, AddressError> {
    let (scheme, rest) = text.split_once(':').ok_or(AddressError::NotHttps)?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(AddressError::NotHttps);
    }
    rest.strip_prefix("//").ok_or(AddressError::Slashes)
}

/// Returns the host as it was written.
fn judge_authority(authority: &str) -> Result<&str, AddressError> {
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    let end = if authority.starts_with('[') {
        authority.find(']').ok_or(AddressError::Host)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if host.contains('%') {
        return Err(AddressError::EncodedHost);
    }
    if host.ends_with('.') {
        return Err(AddressError::FinalDot);
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(host),
        // An IPv6 address without brackets, or something after them.
        Some(port) if port.contains(':') => Err(AddressError::Host),
        None => Err(AddressError::Host),
        Some(port) => {
            let number = port.parse::<u16>().ok().filter(|number| *number != 0);
            // Not `+443` and not `0443`.
            let plain = number.is_some_and(|number| number.to_string() == port);
            if plain { Ok(host) } else { Err(AddressError::Port) }
        }
    }
}

fn judge_path(path: &str) -> Result<(), AddressError> {
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(AddressError::DotSegment);
    }
    for encoded in path.split('%').skip(1) {
        let byte = encoded.get(..2).and_then(hexadecimal_pair).ok_or(AddressError::EncodedPath)?;
        if matches!(byte, b'.' | b'/' | b'\\' | b'%') || byte.is_ascii_control() {
            return Err(AddressError::EncodedPath);
        }
    }
    Ok(())
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn hexadecimal_pair(digits: &str) -> Option<u8> {
    let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Judges the host as the parser reads it; `written` is how it was spelled.
fn judge_host(url: &Url, written: &str) -> Result<ServerName<'static>, AddressError> {
    let address = match url.host() {
        None => return Err(AddressError::NoHost),
        Some(Host::Domain(name)) => {
            if name == "localhost" || name.ends_with(".localhost") {
                return Err(AddressError::ThisMachine);
            }
            return ServerName::try_from(name.to_owned()).map_err(|_| AddressError::Host);
        }
        Some(Host::Ipv4(four)) if four.to_string() != written => return Err(AddressError::Spelling),
        Some(Host::Ipv4(four)) => IpAddr::V4(four),
        Some(Host::Ipv6(six)) => IpAddr::V6(six),
    };
    match forbidden(address) {
        Some(why) => Err(AddressError::NotAllowed { address, why }),
        None => Ok(ServerName::from(address)),
    }
}

impl Address {
    /// The whole address, its query included.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The address of what lies beside the document: the same with this behind its path, as in `….json.sig`. None, if that
    /// is no address to fetch from.
    pub fn beside(&self, suffix: &str) -> Option<Self> {
        let (path, query) = self.as_str().split_at(self.url[..Position::AfterPath].len());
        format!("{path}{suffix}{query}").parse().ok()
    }

    /// The host: a name in lower case, or an address without brackets.
    pub fn host(&self) -> String {
        self.server.to_str().into_owned()
    }

    /// The host, if it is written as a number.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        match &self.server {
            ServerName::IpAddress(address) => Some(IpAddr::from(*address)),
            _ => None,
        }
    }

    /// The port, which is 443 if none was written.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(443)
    }

    /// Whether both have the same host and the same port.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        self.server == other.server && self.port() == other.port()
    }

    /// Whose certificate is asked for.
    pub(crate) fn server(&self) -> ServerName<'static> {
        self.server.clone()
    }

    /// Path and query, as a request names them.
    pub(crate) fn target(&self) -> PathAndQuery {
        self.target.clone()
    }

    /// Host and port, as the header `Host` names them.
    pub(crate) fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Host and port, the port always written out.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", &self.url[Position::BeforeHost..Position::AfterHost], self.port())
    }

    /// The address that a redirect from this one names, judged like any other.
    ///
    /// What the server left out is put before its words as they are, so that nothing is mended on the way.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, AddressError> {
        let origin = &self.url[..Position::BeforePath];
        let path = self.url.path();
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        // A colon before any slash ends a scheme.
        let scheme = location.find([':', '/', '?', '#']).is_some_and(|at| location[at..].starts_with(':'));
        match location {
            "" => Err(AddressError::Empty),
            _ if scheme => location.parse(),
            _ if location.starts_with("//") => format!("https:{location}").parse(),
            _ if location.starts_with('/') => format!("{origin}{location}").parse(),
            _ if location.starts_with('?') => format!("{origin}{path}{location}").parse(),
            _ => format!("{origin}{folder}{location}").parse(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url[..Position::AfterPath])?;
        if self.url.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
