//! Envelopes: requests are written by pushing text, answers are read as a stream of elements.
//!
//! The reader keeps one element at a time. It follows namespaces, not prefixes, and refuses what no vCenter
//! sends and an attacker might: document types, entities of its own, deep nesting, endless texts, an end
//! before the end.

use std::io::BufRead;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};

use crate::error::{Error, peer_text};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const VIM: &str = "urn:vim25";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Elements inside of elements. The deepest answer we ask for has nine.
const DEPTH: usize = 64;
/// Characters of one value. The longest we ask for is a name of at most 80, escaped.
pub(crate) const TEXT: usize = 16 << 10;
/// Namespace declarations in force at a time.
const BINDINGS: usize = 64;

/// A reference to an object of vCenter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    pub(crate) kind: Box<str>,
    pub(crate) id: Box<str>,
}

impl Reference {
    pub(crate) fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.into(), id: id.into() }
    }

    /// As messages name it.
    pub(crate) fn shown(&self) -> String {
        peer_text(&format!("{}:{}", self.kind, self.id))
    }
}

/// A request under construction. Never printed: one of them holds a password.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    xml: String,
}

impl Request {
    /// Opens the method on an object.
    pub(crate) fn on(this: &Reference, method: &'static str) -> Result<Self, Error> {
        let mut request = Self { method, xml: String::with_capacity(1024) };
        request.xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Envelope xmlns=\"");
        request.xml.push_str(ENVELOPE);
        request.xml.push_str("\"><Body><");
        request.xml.push_str(method);
        request.xml.push_str(" xmlns=\"urn:vim25\" xmlns:xsi=\"");
        request.xml.push_str(XSI);
        request.xml.push_str("\">");
        request.object("_this", this)?;
        Ok(request)
    }

    /// Opens an element.
    pub(crate) fn open(&mut self, name: &str) {
        self.xml.push('<');
        self.xml.push_str(name);
        self.xml.push('>');
    }

    /// Opens an element of a type that is not the declared one.
    pub(crate) fn open_as(&mut self, name: &str, kind: &str) {
        self.xml.push('<');
        self.xml.push_str(name);
        self.xml.push_str(" xsi:type=\"");
        self.xml.push_str(kind);
        self.xml.push_str("\">");
    }

    /// Closes an element.
    pub(crate) fn close(&mut self, name: &str) {
        self.xml.push_str("</");
        self.xml.push_str(name);
        self.xml.push('>');
    }

    /// Writes an element with a value.
    pub(crate) fn value(&mut self, name: &'static str, value: &str) -> Result<(), Error> {
        self.open(name);
        escape(&mut self.xml, value).map_err(|Unwritable| Error::Unwritable { field: name })?;
        self.close(name);
        Ok(())
    }

    /// Writes an element with a reference.
    pub(crate) fn object(&mut self, name: &'static str, object: &Reference) -> Result<(), Error> {
        let unwritable = |Unwritable| Error::Unwritable { field: name };
        self.xml.push('<');
        self.xml.push_str(name);
        self.xml.push_str(" type=\"");
        escape(&mut self.xml, &object.kind).map_err(unwritable)?;
        self.xml.push_str("\">");
        escape(&mut self.xml, &object.id).map_err(unwritable)?;
        self.close(name);
        Ok(())
    }

    /// Closes everything.
    pub(crate) fn into_body(mut self) -> String {
        self.close(self.method);
        self.xml.push_str("</Body></Envelope>");
        self.xml
    }
}

/// A character that XML 1.0 cannot carry, not even as a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwritable;

/// Appends a text so that a reader gets exactly it back, line ends and tabs included.
pub(crate) fn escape(xml: &mut String, text: &str) -> Result<(), Unwritable> {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            '\t' => xml.push_str("&#9;"),
            '\n' => xml.push_str("&#10;"),
            '\r' => xml.push_str("&#13;"),
            c if !is_xml(c) => return Err(Unwritable),
            c => xml.push(c),
        }
    }
    Ok(())
}

/// The production `Char` of XML 1.0.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What is wrong with an answer. Never a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw(pub(crate) &'static str);

/// Why an answer gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It is not what it should be.
    Flawed(Flaw),
    /// It is a fault.
    Fault(Fault),
}

impl From<Flaw> for Failed {
    fn from(flaw: Flaw) -> Self {
        Self::Flawed(flaw)
    }
}

impl Failed {
    pub(crate) fn into_error(self, method: &'static str) -> Error {
        match self {
            Self::Flawed(Flaw(why)) => Error::Malformed { method, why },
            Self::Fault(fault) => fault.into_error(method),
        }
    }
}

/// A fault as vCenter told it; its texts are bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) object: Option<Reference>,
    pub(crate) privilege: String,
}

impl Fault {
    pub(crate) fn into_error(self, method: &'static str) -> Error {
        match self.name.as_str() {
            "InvalidLogin" => Error::InvalidLogin,
            "NotAuthenticated" => Error::NotAuthenticated,
            "NoPermission" => Error::NoPermission {
                object: self
                    .object
                    .map_or_else(|| format!("the object of {method}"), |object| object.shown()),
                privilege: if self.privilege.is_empty() { "(not named)".to_string() } else { self.privilege },
            },
            _ => Error::Fault { method, name: self.name, message: self.message },
        }
    }
}

/// Which vocabulary an element is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Envelope,
    Vim,
    None,
    Other,
}

/// The start of an element.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    pub(crate) space: Space,
    pub(crate) name: String,
    /// `xsi:type` without its prefix.
    pub(crate) xsi_type: Option<String>,
    /// The plain attribute `type`, which references carry.
    pub(crate) kind: Option<String>,
}

impl Tag {
    /// The name, if it is of vCenter's vocabulary.
    pub(crate) fn vim(&self) -> &str {
        if self.space == Space::Vim { &self.name } else { "" }
    }
}

enum Step {
    Open(Tag),
    Close,
    End,
}

/// Where the text of an element goes.
enum Sink<'a> {
    Nowhere,
    Bounded(&'a mut String),
    Cut(&'a mut String, usize),
}

/// Reads an answer element by element.
pub(crate) struct Answer<R> {
    xml: NsReader<R>,
    buffer: Vec<u8>,
    depth: usize,
    rooted: bool,
}

impl<R: BufRead> Answer<R> {
    pub(crate) fn new(source: R) -> Self {
        let mut xml = NsReader::from_reader(source);
        xml.config_mut().expand_empty_elements = true;
        xml.resolver_mut().set_max_namespace_bindings(BINDINGS);
        Self { xml, buffer: Vec::new(), depth: 0, rooted: false }
    }

    /// Reads to the next start or end of an element.
    fn step(&mut self, mut sink: Sink<'_>) -> Result<Step, Flaw> {
        loop {
            self.buffer.clear();
            let (resolved, event) = self
                .xml
                .read_resolved_event_into(&mut self.buffer)
                .map_err(|_| Flaw("it is not well-formed XML"))?;
            match event {
                Event::Start(start) => {
                    let space = space(&resolved);
                    if self.depth == DEPTH {
                        return Err(Flaw("it is nested too deeply"));
                    }
                    if self.depth == 0 && self.rooted {
                        return Err(Flaw("it has more than one root"));
                    }
                    let (xsi_type, kind) = attributes(&self.xml, &start)?;
                    self.depth += 1;
                    self.rooted = true;
                    let name = start.local_name().as_ref().to_string();
                    return Ok(Step::Open(Tag { space, name, xsi_type, kind }));
                }
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or(Flaw("it is not well-formed XML"))?;
                    return Ok(Step::Close);
                }
                Event::Text(text) if self.depth == 0 => {
                    if !text.xml10_content().trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() {
                        return Err(Flaw("it is not XML"));
                    }
                }
                Event::Text(text) => sink.push(&text.xml10_content())?,
                Event::CData(text) => sink.push(&text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let c = match &*reference {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => match reference.resolve_char_ref() {
                            Ok(Some(c)) if is_xml(c) => c,
                            Ok(_) => return Err(Flaw("it has an entity of its own")),
                            Err(_) => return Err(Flaw("it has a reference to no character")),
                        },
                    };
                    sink.push(c.encode_utf8(&mut [0; 4]))?;
                }
                Event::DocType(_) => return Err(Flaw("it has a document type")),
                Event::Eof if self.depth > 0 => return Err(Flaw("it ends too early")),
                Event::Eof if !self.rooted => return Err(Flaw("it is empty")),
                Event::Eof => return Ok(Step::End),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                // Empty elements arrive as a start and an end.
                Event::Empty(_) => return Err(Flaw("it is not well-formed XML")),
            }
        }
    }

    /// Gives each child of the open element to a function, which reads as much of it as it likes.
    pub(crate) fn children<E: From<Flaw>>(
        &mut self,
        mut each: impl FnMut(&mut Self, &Tag) -> Result<(), E>,
    ) -> Result<(), E> {
        let level = self.depth;
        loop {
            match self.step(Sink::Nowhere)? {
                Step::Open(tag) => {
                    each(self, &tag)?;
                    self.rise_to(level)?;
                }
                Step::Close => return Ok(()),
                Step::End => return Err(Flaw("it ends too early").into()),
            }
        }
    }

    /// Passes over what is left of the elements below a level.
    fn rise_to(&mut self, level: usize) -> Result<(), Flaw> {
        while self.depth > level {
            self.step(Sink::Nowhere)?;
        }
        Ok(())
    }

    /// The text of the open element. One that exceeds the bound is a flaw.
    pub(crate) fn text(&mut self) -> Result<String, Flaw> {
        let mut text = String::new();
        let level = self.depth;
        while self.depth >= level {
            // Text inside of an element of the value is not the value's.
            let sink = if self.depth == level { Sink::Bounded(&mut text) } else { Sink::Nowhere };
            self.step(sink)?;
        }
        Ok(text)
    }

    /// The open element as a value: its own text, and each child's name and text.
    pub(crate) fn value(&mut self, mut field: impl FnMut(String, String)) -> Result<String, Flaw> {
        let mut text = String::new();
        let level = self.depth;
        while self.depth >= level {
            if let Step::Open(tag) = self.step(Sink::Bounded(&mut text))? {
                field(tag.name, self.text()?);
            }
        }
        Ok(text)
    }

    /// The beginning of the text of the open element.
    fn text_cut(&mut self, limit: usize) -> Result<String, Flaw> {
        let mut text = String::new();
        let level = self.depth;
        while self.depth >= level {
            self.step(Sink::Cut(&mut text, limit))?;
        }
        Ok(text)
    }

    /// A reference: the open element's text, and the type that its tag carries.
    pub(crate) fn reference(&mut self, tag: &Tag) -> Result<Reference, Flaw> {
        let id = self.text()?;
        let kind = tag.kind.as_deref().or(tag.xsi_type.as_deref()).unwrap_or_default();
        if id.is_empty() || kind.is_empty() {
            return Err(Flaw("it has a reference to nothing"));
        }
        Ok(Reference::new(kind, &id))
    }

    /// The open element as a fault: what lies in `detail`, or in the `fault` of a property.
    pub(crate) fn fault(&mut self, tag: &Tag) -> Result<Fault, Flaw> {
        let name = match &tag.xsi_type {
            Some(name) => name,
            None => tag.name.strip_suffix("Fault").unwrap_or(&tag.name),
        };
        let mut fault = Fault { name: peer_text(name), ..Fault::default() };
        self.children(|answer, tag| {
            match tag.name.as_str() {
                "object" => fault.object = Some(answer.reference(tag)?),
                "privilegeId" => fault.privilege = peer_text(&answer.text()?),
                // Since 7.0.3 a list, entity by entity.
                "missingPrivileges" => answer.children(|answer, tag| match tag.name.as_str() {
                    "entity" if fault.object.is_none() => {
                        fault.object = Some(answer.reference(tag)?);
                        Ok(())
                    }
                    "privilegeIds" if fault.privilege.is_empty() => {
                        fault.privilege = peer_text(&answer.text()?);
                        Ok(())
                    }
                    _ => Ok::<(), Flaw>(()),
                })?,
                _ => {}
            }
            Ok::<(), Flaw>(())
        })?;
        Ok(fault)
    }

    /// Reads the envelope whose body answers a method, to its very end.
    pub(crate) fn envelope<T>(
        mut self,
        method: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Flaw>,
    ) -> Result<T, Failed> {
        match self.step(Sink::Nowhere)? {
            Step::Open(tag) if tag.space == Space::Envelope && tag.name == "Envelope" => {}
            _ => return Err(Flaw("it is not a SOAP envelope").into()),
        }
        let (mut read, mut outcome) = (Some(read), None);
        self.children(|answer, tag| {
            if tag.space != Space::Envelope || tag.name != "Body" {
                return Ok(());
            }
            answer.children(|answer, tag| {
                if tag.space == Space::Envelope && tag.name == "Fault" {
                    return Err(Failed::Fault(answer.soap_fault()?));
                }
                if tag.vim().strip_suffix("Response") != Some(method) {
                    return Err(Flaw("it answers another question").into());
                }
                let read = read.take().ok_or(Flaw("it answers twice"))?;
                outcome = Some(read(answer)?);
                Ok(())
            })
        })?;
        match self.step(Sink::Nowhere)? {
            Step::End => outcome.ok_or(Flaw("it has no body").into()),
            Step::Open(_) | Step::Close => Err(Flaw("it has more than one root").into()),
        }
    }

    fn soap_fault(&mut self) -> Result<Fault, Flaw> {
        let (mut code, mut message, mut detail) = (String::new(), String::new(), None);
        self.children(|answer, tag| {
            match tag.name.as_str() {
                "faultcode" => code = peer_text(&answer.text_cut(TEXT)?),
                "faultstring" => message = peer_text(&answer.text_cut(TEXT)?),
                "detail" => answer.children(|answer, tag| {
                    detail = Some(answer.fault(tag)?);
                    Ok::<(), Flaw>(())
                })?,
                _ => {}
            }
            Ok::<(), Flaw>(())
        })?;
        let mut fault = detail.unwrap_or_default();
        // Older and simulated servers name the element plainly and say the type in words only.
        if fault.name.is_empty() {
            fault.name = code.rsplit(':').next().unwrap_or_default().to_string();
        }
        fault.message = message;
        Ok(fault)
    }

    /// Reads a document that is not an envelope, from its root on.
    pub(crate) fn document<T>(
        mut self,
        root: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Flaw>,
    ) -> Result<T, Flaw> {
        match self.step(Sink::Nowhere)? {
            Step::Open(tag) if tag.name == root => {}
            _ => return Err(Flaw("it is another document")),
        }
        let value = read(&mut self)?;
        match self.step(Sink::Nowhere)? {
            Step::End => Ok(value),
            Step::Open(_) | Step::Close => Err(Flaw("it has more than one root")),
        }
    }
}

impl Sink<'_> {
    fn push(&mut self, more: &str) -> Result<(), Flaw> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Bounded(text) if text.len() + more.len() > TEXT => Err(Flaw("it has a text without end")),
            Self::Bounded(text) => {
                text.push_str(more);
                Ok(())
            }
            Self::Cut(text, limit) => {
                let room = limit.saturating_sub(text.len());
                text.push_str(&more[..more.floor_char_boundary(room)]);
                Ok(())
            }
        }
    }
}

fn space(resolved: &ResolveResult<'_>) -> Space {
    match resolved {
        ResolveResult::Bound(Namespace(name)) if *name == ENVELOPE => Space::Envelope,
        ResolveResult::Bound(Namespace(name)) if *name == VIM => Space::Vim,
        ResolveResult::Bound(_) | ResolveResult::Unknown(_) => Space::Other,
        ResolveResult::Unbound => Space::None,
    }
}

/// The two attributes that mean something to us: `xsi:type` and `type`.
fn attributes<R>(
    xml: &NsReader<R>,
    start: &BytesStart<'_>,
) -> Result<(Option<String>, Option<String>), Flaw> {
    let (mut xsi_type, mut kind) = (None, None);
    // The check for duplicates is quadratic, and a duplicate harms nobody here.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| Flaw("it is not well-formed XML"))?;
        let (resolved, name) = xml.resolver().resolve_attribute(attribute.key);
        if name.as_ref() != "type" {
            continue;
        }
        let value: &str = &attribute.value;
        if value.len() > 256 || value.contains('&') {
            return Err(Flaw("it has a type without end"));
        }
        match resolved {
            ResolveResult::Unbound => kind = Some(value.to_string()),
            ResolveResult::Bound(Namespace(space)) if space == XSI => {
                xsi_type = Some(value.rsplit(':').next().unwrap_or_default().to_string());
            }
            ResolveResult::Bound(_) | ResolveResult::Unknown(_) => {}
        }
    }
    Ok((xsi_type, kind))
}

#[cfg(test)]
mod tests;
