//! From a verified peer to a session and back.

use std::sync::Mutex;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use crate::error::{Error, peer_text};
use crate::soap::{Answer, Flaw, Reference, Request};
use crate::target::Target;
use crate::wire::{Chunks, Wire};

/// The oldest interface we speak, and the one we speak wherever it is served: what we read has not changed
/// since, so every vCenter is asked in the same words.
const OLDEST: (u32, u32) = (6, 7);
const SPOKEN: &str = "6.7";

/// A vCenter that was reached, verified and recognised. Nobody is logged in.
pub struct Client {
    wire: Wire,
    service: Service,
}

/// What a vCenter says about itself before anybody logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The product's version, such as `8.0.3`. 6.7 U3 says `6.7.0`.
    pub version: String,
    /// The interface's version, such as `8.0.3.0`. 6.7 U3 says `6.7.3`.
    pub api_version: String,
    /// The build, such as `24022515`.
    pub build: String,
    /// The identity of this vCenter; empty if it does not say.
    pub instance_uuid: String,
}

/// The objects that every call starts from.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    about: About,
    pub(crate) root_folder: Reference,
    pub(crate) property_collector: Reference,
    pub(crate) view_manager: Reference,
    session_manager: Reference,
}

/// One session. It lives in vCenter until [`Session::logout`], or for its idle time (two hours by default), so
/// that a session which is dropped instead stays there for a while.
#[must_use = "a session that is not logged out stays in vCenter"]
pub struct Session {
    pub(crate) wire: Wire,
    pub(crate) service: Service,
    /// Views that a failed or abandoned read left in vCenter; the next read clears them away.
    pub(crate) left_views: Mutex<Vec<Reference>>,
}

/// The session as vCenter sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentSession {
    /// Its name, which is not the cookie and no secret.
    pub key: String,
    /// The account, as vCenter spells it.
    pub user_name: String,
}

impl Client {
    /// Connects, and makes sure that a vCenter of a version we speak answers. Two requests, no login.
    pub async fn connect(target: Target) -> Result<Self, Error> {
        let mut wire = Wire::new(target)?;
        let versions = wire.fetch_versions(VERSIONS).await?;
        let spoken = versions.read().document("namespaces", spoken_version);
        let spoken = spoken.and_then(|version| wire.speak(&version));
        spoken.map_err(|Flaw(_)| not_vcenter(&wire, "a server without vCenter's list of versions"))?;

        let root = Reference::new("ServiceInstance", "ServiceInstance");
        let received = wire.call(Request::on(&root, CONTENT)?).await?;
        wire.adopt_cookie(&received);
        let service =
            received.read().envelope(CONTENT, service).map_err(|failed| failed.into_error(CONTENT))?;
        let Content { kind, about, .. } = &service;
        if kind != "VirtualCenter" {
            return Err(not_vcenter(&wire, &format!("a server of the type {kind:?}")));
        }
        if major_minor(&about.api_version).is_none_or(|version| version < OLDEST) {
            return Err(Error::TooOld { version: about.api_version.clone() });
        }
        let service = service.complete().map_err(|Flaw(why)| Error::Malformed { method: CONTENT, why })?;
        Ok(Self { wire, service })
    }

    /// What the vCenter says about itself.
    pub fn about(&self) -> &About {
        &self.service.about
    }

    /// Logs in, once. The only call that carries a credential.
    ///
    /// A caller that stops waiting leaves no session behind: the login then ends by itself, logged out.
    pub async fn login(self, user: &str, password: &SecretString) -> Result<Session, Error> {
        let mut login = Request::on(&self.service.session_manager, LOGIN)?;
        login.value("userName", user)?;
        login.value("password", password.expose_secret())?;
        let (hand, wait) = oneshot::channel();
        tokio::spawn(async move {
            // Refused if nobody waits any more; the session is then logged out as it is dropped.
            let _ = hand.send(self.log_in(login).await.map(|session| Handover(Some(session))));
        });
        // The task ends without an answer only when the whole runtime does.
        let mut handed = wait.await.map_err(|_| Error::NotAuthenticated)??;
        handed.0.take().ok_or(Error::NotAuthenticated)
    }

    async fn log_in(mut self, login: Request) -> Result<Session, Error> {
        let received = self.wire.call(login).await?;
        self.wire.adopt_cookie(&received);
        received
            .read()
            .envelope(LOGIN, |answer| answer.children(|_, _| Ok::<(), Flaw>(())))
            .map_err(|failed| failed.into_error(LOGIN))?;
        if !self.wire.has_cookie() {
            return Err(Error::Malformed { method: LOGIN, why: "it has no session cookie" });
        }
        Ok(Session { wire: self.wire, service: self.service, left_views: Mutex::default() })
    }
}

impl Session {
    /// What the vCenter said about itself when we connected.
    pub fn about(&self) -> &About {
        &self.service.about
    }

    /// Where this session is.
    pub fn target(&self) -> &Target {
        self.wire.target()
    }

    /// Reads the session that vCenter believes us to be in; [`Error::NotAuthenticated`] if in none.
    pub async fn fetch_current(&self) -> Result<CurrentSession, Error> {
        let manager = self.service.session_manager.clone();
        let mut current = None;
        self.read_property(&manager, "currentSession", |value| {
            let field = |name: &str| {
                value.fields.iter().find(|(field, _)| field == name).map(|(_, text)| peer_text(text))
            };
            current = field("key")
                .map(|key| CurrentSession { key, user_name: field("userName").unwrap_or_default() });
        })
        .await?;
        current.ok_or(Error::NotAuthenticated)
    }

    /// Resets the idle time, and notices a session that has ended. One call.
    pub async fn keepalive(&self) -> Result<(), Error> {
        self.fetch_current().await.map(drop)
    }

    /// Ends the session. One that had ended before is as good.
    pub async fn logout(self) -> Result<(), Error> {
        let logout = Request::on(&self.service.session_manager, LOGOUT)?;
        match self.ask(logout, |_| Ok(())).await {
            Ok(()) | Err(Error::NotAuthenticated) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets a session that has ended, and keeps the connection for another login.
    pub fn into_client(mut self) -> Client {
        self.wire.forget_cookie();
        Client { wire: self.wire, service: self.service }
    }

    /// Sends a call and reads its answer.
    pub(crate) async fn ask<T>(
        &self,
        request: Request,
        read: impl FnOnce(&mut Answer<Chunks>) -> Result<T, Flaw>,
    ) -> Result<T, Error> {
        let method = request.method;
        let received = self.wire.call(request).await?;
        received.read().envelope(method, read).map_err(|failed| failed.into_error(method))
    }
}

/// A session on its way to a caller who may be gone.
struct Handover(Option<Session>);

impl Drop for Handover {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(session.logout());
        }
    }
}

const VERSIONS: &str = "vimServiceVersions.xml";
const CONTENT: &str = "RetrieveServiceContent";
const LOGIN: &str = "Login";
const LOGOUT: &str = "Logout";

fn not_vcenter(wire: &Wire, found: &str) -> Error {
    Error::NotVCenter { endpoint: wire.target().endpoint.clone(), found: peer_text(found) }
}

/// `6.7` where it is served, else the newest that is.
fn spoken_version<R: std::io::BufRead>(answer: &mut Answer<R>) -> Result<String, Flaw> {
    let mut newest = None;
    let mut spoken = false;
    answer.children(|answer, tag| {
        if tag.name != "namespace" {
            return Ok(());
        }
        let (mut vim, mut current, mut prior) = (false, String::new(), false);
        answer.children(|answer, tag| {
            match tag.name.as_str() {
                "name" => vim = answer.text()?.trim() == "urn:vim25",
                "version" => current = answer.text()?.trim().to_string(),
                "priorVersions" => answer.children(|answer, tag| {
                    prior |= tag.name == "version" && answer.text()?.trim() == SPOKEN;
                    Ok::<(), Flaw>(())
                })?,
                _ => {}
            }
            Ok::<(), Flaw>(())
        })?;
        if vim {
            spoken |= prior || current == SPOKEN;
            newest = Some(current);
        }
        Ok::<(), Flaw>(())
    })?;
    match newest {
        Some(_) if spoken => Ok(SPOKEN.to_string()),
        Some(newest) if !newest.is_empty() => Ok(newest),
        _ => Err(Flaw("it has no version of vCenter's interface")),
    }
}

/// The service content as far as it was there.
struct Content {
    kind: String,
    about: About,
    root_folder: Option<Reference>,
    property_collector: Option<Reference>,
    view_manager: Option<Reference>,
    session_manager: Option<Reference>,
}

impl Content {
    fn complete(self) -> Result<Service, Flaw> {
        const INCOMPLETE: Flaw = Flaw("it lacks an object that every vCenter has");
        Ok(Service {
            about: self.about,
            root_folder: self.root_folder.ok_or(INCOMPLETE)?,
            property_collector: self.property_collector.ok_or(INCOMPLETE)?,
            view_manager: self.view_manager.ok_or(INCOMPLETE)?,
            session_manager: self.session_manager.ok_or(INCOMPLETE)?,
        })
    }
}

fn service<R: std::io::BufRead>(answer: &mut Answer<R>) -> Result<Content, Flaw> {
    let mut content = Content {
        kind: String::new(),
        about: About {
            version: String::new(),
            api_version: String::new(),
            build: String::new(),
            instance_uuid: String::new(),
        },
        root_folder: None,
        property_collector: None,
        view_manager: None,
        session_manager: None,
    };
    answer.children(|answer, tag| {
        if tag.vim() != "returnval" {
            return Ok(());
        }
        answer.children(|answer, tag| {
            match tag.vim() {
                "rootFolder" => content.root_folder = Some(answer.reference(tag)?),
                "propertyCollector" => content.property_collector = Some(answer.reference(tag)?),
                "viewManager" => content.view_manager = Some(answer.reference(tag)?),
                "sessionManager" => content.session_manager = Some(answer.reference(tag)?),
                "about" => answer.children(|answer, tag| {
                    let place = match tag.vim() {
                        "version" => &mut content.about.version,
                        "apiVersion" => &mut content.about.api_version,
                        "build" => &mut content.about.build,
                        "instanceUuid" => &mut content.about.instance_uuid,
                        "apiType" => &mut content.kind,
                        _ => return Ok(()),
                    };
                    *place = peer_text(&answer.text()?);
                    Ok::<(), Flaw>(())
                })?,
                _ => {}
            }
            Ok::<(), Flaw>(())
        })
    })?;
    Ok(content)
}

/// The first two numbers of a version.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", self.wire.target()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("target", self.wire.target()).finish_non_exhaustive()
    }
}
