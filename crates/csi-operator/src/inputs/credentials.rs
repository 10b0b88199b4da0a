//! The Secret with user and password: what the driver could not use is refused here, by key.

use secrecy::{ExposeSecret, SecretSlice};
use vdo_api::vcenter::SecretVersion;
use vdo_plan::{Finding, Reading};

use crate::gcfg::{Text, Unrepresentable};
use crate::reasons;

/// vCenter takes far less, and a value near a Secret's limit is a mistake.
const LONGEST: usize = 1024;
/// Types that hold something else, whatever their keys are called.
const OTHER_TYPES: [&str; 4] = [
    "kubernetes.io/service-account-token",
    "kubernetes.io/tls",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
];

/// A Secret as it was read.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Which version of which Secret.
    pub version: SecretVersion,
    /// Its type.
    pub kind: Option<String>,
    /// The value of `username`.
    pub username: Option<SecretSlice<u8>>,
    /// The value of `password`.
    pub password: Option<SecretSlice<u8>>,
}

/// Who logs in, in a form that the driver reads back.
#[derive(Clone, Debug)]
pub struct Login {
    /// `name@domain` or `DOMAIN\name`.
    pub user: Text,
    /// The password.
    pub password: Text,
}

/// The login, if the Secret is the very version that vdo-core logged in with and the driver can use it.
pub fn check(secret: &Reading<Credentials>, verified: &SecretVersion) -> Result<Login, Vec<Finding>> {
    let place = format!("Secret {}/{}", verified.namespace, verified.name);
    let one = |reason, message| Err(vec![Finding::hold(reason, message)]);
    let credentials = match secret {
        Reading::Present(credentials) => credentials,
        Reading::Absent => {
            return one(&reasons::CSI_CREDENTIALS_UNREADABLE, format!("{place} does not exist; create it"));
        }
        Reading::Unreadable(why) => {
            return one(&reasons::CSI_CREDENTIALS_UNREADABLE, format!("{place} cannot be read: {why}"));
        }
    };
    if credentials.version != *verified {
        return one(
            &reasons::CSI_CREDENTIALS_NOT_VERIFIED,
            format!("{place} was changed and vdo-core has not logged in with it yet"),
        );
    }
    if let Some(kind) = credentials.kind.as_deref().filter(|kind| OTHER_TYPES.contains(kind)) {
        return one(
            &reasons::CSI_CREDENTIALS_INVALID,
            format!("{place} is of type {kind}; use another Secret"),
        );
    }
    let user = value(&place, "username", credentials.username.as_ref()).and_then(|user| {
        if names_a_domain(user.expose()) {
            return Ok(user);
        }
        let what = r"must be name@domain or DOMAIN\name, of letters, digits, '.', '-' and (in the name) '_'";
        Err(Finding::hold(&reasons::CSI_CREDENTIALS_INVALID, format!("{place}, key username: {what}")))
    });
    let password = value(&place, "password", credentials.password.as_ref());
    match (user, password) {
        (Ok(user), Ok(password)) => Ok(Login { user, password }),
        (user, password) => Err([user.err(), password.err()].into_iter().flatten().collect()),
    }
}

fn value(place: &str, key: &str, bytes: Option<&SecretSlice<u8>>) -> Result<Text, Finding> {
    let refuse = |what: &str| {
        Err(Finding::hold(&reasons::CSI_CREDENTIALS_INVALID, format!("{place}, key {key}: {what}")))
    };
    let Some(bytes) = bytes.map(ExposeSecret::expose_secret) else { return refuse("is missing; add it") };
    if bytes.is_empty() {
        return refuse("is empty");
    }
    if bytes.len() > LONGEST {
        return refuse("is longer than 1024 bytes");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return refuse("is not UTF-8 text") };
    match Text::new(text) {
        Ok(text) => Ok(text),
        // A blank at the end may be meant, so nothing is trimmed silently.
        Err(Unrepresentable::LineBreak) if text.ends_with('\n') => {
            refuse("ends with a line break; write it without one (echo -n)")
        }
        Err(why) => refuse(&why.to_string()),
    }
}

/// The driver's own rule since 3.2: without a domain, vCenter's privilege queries would answer nothing.
fn names_a_domain(user: &str) -> bool {
    let is_domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let is_name = |c: char| is_domain(c) || c == '_';
    let fits = |name: &str, domain: &str| {
        !name.is_empty() && !domain.is_empty() && name.chars().all(is_name) && domain.chars().all(is_domain)
    };
    let by_at = user.split_once('@').is_some_and(|(name, domain)| fits(name, domain));
    by_at || user.split_once('\\').is_some_and(|(domain, name)| fits(name, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> SecretVersion {
        SecretVersion {
            namespace: "vmware-system-vdo".into(),
            name: "vc1".into(),
            uid: "u".into(),
            resource_version: "7".into(),
        }
    }

    fn secret(username: Option<&[u8]>, password: Option<&[u8]>) -> Credentials {
        let bytes = |value: Option<&[u8]>| value.map(|v| SecretSlice::from(v.to_vec()));
        Credentials {
            version: version(),
            kind: Some("kubernetes.io/basic-auth".into()),
            username: bytes(username),
            password: bytes(password),
        }
    }

    fn said(username: &[u8], password: &[u8]) -> Vec<String> {
        let secret = secret(Some(username), Some(password));
        check(&Reading::Present(secret), &version()).map_or_else(
            |findings| findings.into_iter().map(|f| format!("{}: {}", f.reason.name, f.message)).collect(),
            |_| Vec::new(),
        )
    }

    const USER: &[u8] = b"administrator@vsphere.local";

    #[test]
    fn a_password_of_every_printable_character_is_accepted_unchanged() {
        let all: String = (' '..='~').chain(['\t', 'é', '𝄞']).collect();
        let secret = secret(Some(USER), Some(all.as_bytes()));
        let login = check(&Reading::Present(secret), &version()).unwrap();
        assert_eq!(login.password.expose(), all);
    }

    #[test]
    fn each_fault_names_secret_and_key_and_no_value() {
        let long = vec![b'a'; 1025];
        for (user, password, expected) in [
            (USER, b"" as &[u8], "key password: is empty"),
            (USER, b"hunter2\n", "key password: ends with a line break; write it without one (echo -n)"),
            (USER, b"hunt\ner2", "key password: has a line break"),
            (USER, b"hunter2\0", "key password: has a NUL character"),
            (USER, b"hunter2\xff", "key password: is not UTF-8 text"),
            (USER, &long, "key password: is longer than 1024 bytes"),
            (b"hunter2", b"p", "key username: must be name@domain or DOMAIN\\name"),
            (b"hunter2@a@b", b"p", "key username: must be"),
            (b"hunter+2@vsphere.local", b"p", "key username: must be"),
            (b"@vsphere.local", b"p", "key username: must be"),
        ] {
            let said = said(user, password);
            assert_eq!(said.len(), 1, "{said:?}");
            let start = format!("CSICredentialsInvalid: Secret vmware-system-vdo/vc1, {expected}");
            assert!(said[0].starts_with(&start) && !said[0].contains("hunter"), "{said:?}");
        }
        assert_eq!(said(b"", b"").len(), 2, "both keys are reported at once");
        assert_eq!(said(br"VSPHERE.LOCAL\svc_csi-1", b"p"), NONE);
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_missing_key_names_only_itself() {
        let said = check(&Reading::Present(secret(Some(USER), None)), &version()).unwrap_err();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].message, "Secret vmware-system-vdo/vc1, key password: is missing; add it");
    }

    #[test]
    fn missing_unreadable_changed_and_foreign_secrets_are_told_apart() {
        let reason = |secret: Reading<Credentials>| check(&secret, &version()).unwrap_err()[0].reason.name;
        let good = secret(Some(USER), Some(b"p"));
        let newer = SecretVersion { resource_version: "8".into(), ..version() };
        let tls = Credentials { kind: Some("kubernetes.io/tls".into()), ..good.clone() };
        assert_eq!(reason(Reading::Absent), "CSICredentialsUnreadable");
        assert_eq!(reason(Reading::Unreadable("forbidden".into())), "CSICredentialsUnreadable");
        assert_eq!(
            reason(Reading::Present(Credentials { version: newer, ..good })),
            "CSICredentialsNotVerified"
        );
        assert_eq!(reason(Reading::Present(tls)), "CSICredentialsInvalid");
    }
}
