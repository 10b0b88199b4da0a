//! Credentials of a vCenter as a Secret holds them, and what can be wrong with them before any login.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use vdo_api::vcenter::SecretVersion;

/// The longest user name or password that is accepted, in bytes.
pub const LIMIT: usize = 1024;

/// One version of the credentials of a vCenter. Two are equal when they are the same version of the same Secret.
#[derive(Clone)]
pub struct Credentials {
    /// Which Secret, and which version of it.
    pub version: SecretVersion,
    /// The user, as in `user@domain`.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// The servers that the Secret may be sent to, if it names any.
    pub servers: Vec<String>,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials of Secret {}/{}", self.version.namespace, self.version.name)
    }
}

/// What is wrong with a credentials Secret. Names the key, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The Secret is of a type that holds something else.
    WrongType,
    /// A key is missing.
    Missing(&'static str),
    /// A value is empty.
    Empty(&'static str),
    /// A value is longer than [`LIMIT`].
    TooLong(&'static str),
    /// A value is not UTF-8.
    NotText(&'static str),
    /// A value ends with a line break, as `echo` makes it.
    EndsWithNewline(&'static str),
    /// A value holds a character that the drivers' configuration cannot carry.
    ControlCharacter(&'static str),
    /// The user has no domain, which the storage driver refuses.
    UserWithoutDomain,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::WrongType => write!(
                f,
                "is of a type that does not hold a user and a password; use type kubernetes.io/basic-auth"
            ),
            Fault::Missing(key) => write!(f, "has no key `{key}`"),
            Fault::Empty(key) => write!(f, "has an empty `{key}`"),
            Fault::TooLong(key) => write!(f, "has a `{key}` of more than {LIMIT} bytes"),
            Fault::NotText(key) => write!(f, "has a `{key}` that is not UTF-8 text"),
            Fault::EndsWithNewline(key) => {
                write!(
                    f,
                    "has a `{key}` that ends with a line break; create it without one (printf, not echo)"
                )
            }
            Fault::ControlCharacter(key) => write!(f, "has a `{key}` with a control character"),
            Fault::UserWithoutDomain => {
                write!(f, "has a `username` without a domain; use user@domain or DOMAIN\\user")
            }
        }
    }
}

/// A credentials Secret as it was read: usable, or with what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialsSecret {
    /// Which version of it.
    pub version: SecretVersion,
    /// What it holds.
    pub content: Result<Credentials, Fault>,
}

/// Reads a Secret. Looks at no key but `username` and `password`, and at none of a Secret of a foreign type.
pub fn read(secret: &Secret) -> CredentialsSecret {
    let meta = &secret.metadata;
    let version = SecretVersion {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
    };
    let content = content(secret, &version);
    CredentialsSecret { version, content }
}

fn content(secret: &Secret, version: &SecretVersion) -> Result<Credentials, Fault> {
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if !["Opaque", "kubernetes.io/basic-auth"].contains(&kind) {
        return Err(Fault::WrongType);
    }
    let username = value(secret, "username")?;
    let password = value(secret, "password")?;
    if !username.contains(['@', '\\']) {
        return Err(Fault::UserWithoutDomain);
    }
    let annotations = secret.metadata.annotations.as_ref();
    let servers = annotations.and_then(|a| a.get(vdo_api::names::SERVER_ANNOTATION));
    let servers = servers.map(|list| {
        let servers = list.split(',').map(|s| s.trim().trim_end_matches('.').to_ascii_lowercase());
        servers.filter(|server| !server.is_empty()).collect()
    });
    Ok(Credentials {
        version: version.clone(),
        username,
        password: password.into(),
        servers: servers.unwrap_or_default(),
    })
}

fn value(secret: &Secret, key: &'static str) -> Result<String, Fault> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(Fault::Missing(key))?;
    if bytes.0.len() > LIMIT {
        return Err(Fault::TooLong(key));
    }
    let text = std::str::from_utf8(&bytes.0).map_err(|_| Fault::NotText(key))?;
    match text {
        "" => Err(Fault::Empty(key)),
        text if text.ends_with('\n') => Err(Fault::EndsWithNewline(key)),
        text if text.chars().any(char::is_control) => Err(Fault::ControlCharacter(key)),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(kind: &str, entries: &[(&str, &[u8])]) -> Secret {
        let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
        Secret { type_: Some(kind.to_owned()), data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn each_fault_of_a_secret_is_told_apart() {
        let user: (&str, &[u8]) = ("username", b"u@vsphere.local");
        let long = vec![b'x'; LIMIT + 1];
        let cases: Vec<(Secret, Fault)> = vec![
            (secret("kubernetes.io/tls", &[]), Fault::WrongType),
            (secret("Opaque", &[user]), Fault::Missing("password")),
            (secret("Opaque", &[("password", b"p")]), Fault::Missing("username")),
            (secret("Opaque", &[user, ("password", b"")]), Fault::Empty("password")),
            (secret("Opaque", &[user, ("password", b"p\n")]), Fault::EndsWithNewline("password")),
            (secret("Opaque", &[user, ("password", b"p\0q")]), Fault::ControlCharacter("password")),
            (secret("Opaque", &[user, ("password", b"\xff")]), Fault::NotText("password")),
            (secret("Opaque", &[user, ("password", &long)]), Fault::TooLong("password")),
            (secret("Opaque", &[("username", b"root"), ("password", b"p")]), Fault::UserWithoutDomain),
        ];
        for (secret, fault) in cases {
            assert_eq!(read(&secret).content.unwrap_err(), fault);
        }
    }

    #[test]
    fn every_printable_character_is_accepted_and_never_printed() {
        let password: String = (' '..='~').collect();
        let secret = secret(
            "kubernetes.io/basic-auth",
            &[("username", b"u@vsphere.local"), ("password", password.as_bytes())],
        );
        let read = read(&secret);
        assert!(!format!("{read:?}").contains("!\"#"));
        assert!(read.content.is_ok());
    }
}
