//! Properties of many objects, page by page.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::session::Session;
use crate::soap::{Answer, Fault, Flaw, Reference, Request};

const FIRST: &str = "RetrievePropertiesEx";
const NEXT: &str = "ContinueRetrievePropertiesEx";
const CANCEL: &str = "CancelRetrievePropertiesEx";

/// Parts of a structured value that are kept.
const FIELDS: usize = 64;
/// Properties of one object that are kept. We never ask for more than six.
const PROPERTIES: usize = 32;

/// Which objects to visit from a starting point, and what to read of them.
pub(crate) struct Query<'a> {
    pub(crate) from: &'a Reference,
    pub(crate) walk: Walk,
    /// Type and properties.
    pub(crate) read: &'a [(&'a str, &'a [&'a str])],
}

/// How to get from the starting point to the objects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    /// The starting point itself.
    Stay,
    /// What a view shows.
    View,
    /// The starting point and every folder below it, with what they hold. Goes into no datacenter.
    Folders,
}

/// What was read of one object.
pub(crate) struct Object {
    pub(crate) reference: Reference,
    properties: Vec<(String, Value)>,
    /// The first property that could not be read, if any, and why.
    pub(crate) missing: Option<Fault>,
}

/// A property's value: text, a reference, or a structure with simple fields.
#[derive(Default)]
pub(crate) struct Value {
    pub(crate) text: String,
    kind: Option<String>,
    pub(crate) fields: Vec<(String, String)>,
}

impl Object {
    #[cfg(test)]
    pub(crate) fn new(reference: Reference, properties: &[(&str, &str)]) -> Self {
        let value = |text: &str| Value { text: text.to_owned(), ..Value::default() };
        let properties = properties.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
        Object { reference, properties, missing: None }
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let position = self.properties.iter().position(|(known, _)| known == name)?;
        Some(self.properties.swap_remove(position).1)
    }
}

impl Value {
    /// The value as a reference.
    pub(crate) fn reference(&self) -> Option<Reference> {
        let kind = self.kind.as_deref()?;
        (!self.text.is_empty()).then(|| Reference::new(kind, &self.text))
    }
}

impl Session {
    /// Reads one property of one object. A property that is not set is never seen.
    pub(crate) async fn read_property(
        &self,
        of: &Reference,
        name: &str,
        mut see: impl FnMut(Value) + Send,
    ) -> Result<(), Error> {
        let query = Query { from: of, walk: Walk::Stay, read: &[(&of.kind, &[name])] };
        let mut refused = None;
        self.read_pages(&query, 1, &mut |mut object| {
            refused = object.missing.take().or_else(|| refused.take());
            if let Some(value) = object.take(name) {
                see(value);
            }
        })
        .await?;
        refused.map_or(Ok(()), |fault| Err(fault.into_error(FIRST)))
    }

    /// Reads every object of a query, one page at a time, and says how many pages it took.
    pub(crate) async fn read_pages(
        &self,
        query: &Query<'_>,
        most: u32,
        see: &mut (dyn FnMut(Object) + Send),
    ) -> Result<u32, Error> {
        let collector = &self.service.property_collector;
        // An ended session is told property by property, as if each were hidden.
        let ended = AtomicBool::new(false);
        let mut see = |object: Object| {
            let out = object.missing.as_ref().is_some_and(|fault| fault.name == "NotAuthenticated");
            ended.fetch_or(out, Ordering::Relaxed);
            see(object);
        };
        let see: &mut (dyn FnMut(Object) + Send) = &mut see;
        let mut token =
            self.ask(first(collector, query, self.target().limits.page)?, |answer| page(answer, see)).await?;
        let mut pages = 1;
        while let Some(more) = token {
            if pages >= most {
                let mut cancel = Request::on(collector, CANCEL)?;
                cancel.value("token", &more)?;
                // What counts is that there was too much; vCenter forgets the rest with the session.
                let _ = self.ask(cancel, |_| Ok(())).await;
                return Err(Error::TooManyPages { limit: most });
            }
            let mut next = Request::on(collector, NEXT)?;
            next.value("token", &more)?;
            token = self.ask(next, |answer| page(answer, see)).await?;
            pages += 1;
        }
        if ended.load(Ordering::Relaxed) {
            return Err(Error::NotAuthenticated);
        }
        Ok(pages)
    }
}

fn first(collector: &Reference, query: &Query<'_>, page: u32) -> Result<Request, Error> {
    let mut request = Request::on(collector, FIRST)?;
    request.open("specSet");
    for (kind, paths) in query.read {
        request.open("propSet");
        request.value("type", kind)?;
        for path in *paths {
            request.value("pathSet", path)?;
        }
        request.close("propSet");
    }
    request.open("objectSet");
    request.object("obj", query.from)?;
    match query.walk {
        Walk::Stay => {}
        Walk::View => {
            request.value("skip", "true")?;
            traverse(&mut request, "view", "ContainerView", "view", false)?;
        }
        Walk::Folders => traverse(&mut request, "folders", "Folder", "childEntity", true)?,
    }
    request.close("objectSet");
    request.close("specSet");
    request.open("options");
    request.value("maxObjects", &page.max(1).to_string())?;
    request.close("options");
    Ok(request)
}

fn traverse(request: &mut Request, name: &str, kind: &str, path: &str, again: bool) -> Result<(), Error> {
    request.open_as("selectSet", "TraversalSpec");
    request.value("name", name)?;
    request.value("type", kind)?;
    request.value("path", path)?;
    request.value("skip", "false")?;
    if again {
        request.open("selectSet");
        request.value("name", name)?;
        request.close("selectSet");
    }
    request.close("selectSet");
    Ok(())
}

/// Reads one page, and the token of the next. An answer without a value is a page without objects.
pub(crate) fn page<R: BufRead>(
    answer: &mut Answer<R>,
    see: &mut (dyn FnMut(Object) + Send),
) -> Result<Option<String>, Flaw> {
    let mut token = None;
    answer.children(|answer, tag| {
        if tag.vim() != "returnval" {
            return Ok(());
        }
        answer.children(|answer, tag| {
            match tag.vim() {
                "token" => token = Some(answer.text()?),
                "objects" => see(object(answer)?),
                _ => {}
            }
            Ok::<(), Flaw>(())
        })
    })?;
    Ok(token.filter(|token| !token.is_empty()))
}

fn object<R: BufRead>(answer: &mut Answer<R>) -> Result<Object, Flaw> {
    let (mut reference, mut properties, mut missing) = (None, Vec::new(), None);
    answer.children(|answer, tag| {
        match tag.vim() {
            "obj" => reference = Some(answer.reference(tag)?),
            "propSet" => {
                let (mut name, mut value) = (String::new(), Value::default());
                answer.children(|answer, tag| {
                    match tag.vim() {
                        "name" => name = answer.text()?,
                        "val" => {
                            value.kind.clone_from(&tag.kind);
                            let fields = &mut value.fields;
                            value.text = answer.value(|name, text| {
                                if fields.len() < FIELDS {
                                    fields.push((name, text));
                                }
                            })?;
                        }
                        _ => {}
                    }
                    Ok::<(), Flaw>(())
                })?;
                if properties.len() == PROPERTIES {
                    return Err(Flaw("it has more properties than were asked for"));
                }
                properties.push((name, value));
            }
            "missingSet" if missing.is_none() => answer.children(|answer, tag| {
                if tag.vim() != "fault" {
                    return Ok(());
                }
                // A localised fault: the fault itself lies one deeper.
                answer.children(|answer, tag| {
                    if tag.vim() == "fault" {
                        missing = Some(answer.fault(tag)?);
                    }
                    Ok::<(), Flaw>(())
                })
            })?,
            _ => {}
        }
        Ok::<(), Flaw>(())
    })?;
    Ok(Object {
        reference: reference.ok_or(Flaw("it has an object without a reference"))?,
        properties,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::soap::Failed;

    fn read(xml: &[u8]) -> Result<(Vec<Object>, Option<String>), Failed> {
        let mut objects = Vec::new();
        let token =
            Answer::new(xml).envelope(FIRST, |answer| page(answer, &mut |object| objects.push(object)))?;
        Ok((objects, token))
    }

    fn envelope(inner: &str) -> String {
        format!(
            "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><Body>\
             <RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{inner}</returnval>\
             </RetrievePropertiesExResponse></Body></Envelope>"
        )
    }

    #[test]
    fn a_property_is_a_text_a_reference_or_a_structure() {
        let xml = envelope(
            "<token/><objects><obj type=\"Folder\">group-1</obj>\
             <propSet><name>name</name><val xsi:type=\"xsd:string\"> a &amp; b </val></propSet>\
             <propSet><name>parent</name><val type=\"Folder\">group-2</val></propSet>\
             <propSet><name>session</name><val><key>k</key><deep><deeper>no</deeper></deep>x</val></propSet></objects>",
        );
        let Ok((mut objects, None)) = read(xml.as_bytes()) else { panic!() };
        let mut object = objects.pop().unwrap();
        assert_eq!(object.reference, Reference::new("Folder", "group-1"));
        assert_eq!(object.take("name").unwrap().text, " a & b ");
        assert!(object.take("name").is_none());
        assert_eq!(object.take("parent").unwrap().reference(), Some(Reference::new("Folder", "group-2")));
        let session = object.take("session").unwrap();
        assert_eq!(session.text, "x");
        assert_eq!(session.reference(), None);
        assert_eq!(session.fields, [("key".into(), "k".into()), ("deep".into(), String::new())]);
    }

    #[test]
    fn hostile_objects_are_bounded() {
        let many = "<propSet><name>n</name><val>v</val></propSet>".repeat(PROPERTIES + 1);
        let xml = envelope(&format!("<objects><obj type=\"Folder\">group-1</obj>{many}</objects>"));
        assert!(matches!(
            read(xml.as_bytes()),
            Err(Failed::Flawed(Flaw("it has more properties than were asked for")))
        ));

        let fields = "<f>x</f>".repeat(100_000);
        let xml = envelope(&format!(
            "<objects><obj type=\"Folder\">group-1</obj><propSet><name>n</name><val>{fields}</val></propSet></objects>"
        ));
        let Ok((mut objects, None)) = read(xml.as_bytes()) else { panic!() };
        assert_eq!(objects[0].take("n").unwrap().fields.len(), FIELDS);

        for unnamed in [
            "<objects/>",
            "<objects><obj>group-1</obj></objects>",
            "<objects><obj type=\"Folder\"/></objects>",
        ] {
            assert!(matches!(read(envelope(unnamed).as_bytes()), Err(Failed::Flawed(_))), "{unnamed}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_page_makes_the_reader_panic(
            pieces in proptest::collection::vec(prop_oneof![
                Just("<objects>"), Just("</objects>"), Just("<obj type=\"Folder\">"), Just("</obj>"), Just("<propSet>"),
                Just("</propSet>"), Just("<name>"), Just("</name>"), Just("<val>"), Just("</val>"), Just("<missingSet>"),
                Just("</missingSet>"), Just("<fault>"), Just("</fault>"), Just("<token>"), Just("</token>"), Just("x"),
                Just("&lt;"), Just("<a/>"),
            ], 0..32),
            cut in 0_usize..1000,
        ) {
            let xml = envelope(&pieces.concat());
            let _ = read(xml.as_bytes());
            let end = xml.floor_char_boundary(cut.min(xml.len() - 1));
            prop_assert!(read(&xml.as_bytes()[..end]).is_err());
        }
    }
}
