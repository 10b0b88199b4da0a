//! Who logs in, in a form that the driver accepts and reads back.

use secrecy::ExposeSecret;
use vdo_plan::Finding;
use vdo_plan::credentials::Credentials;

use crate::gcfg::Text;
use crate::reasons;

/// User and password.
#[derive(Clone, Debug)]
pub struct Login {
    /// `name@domain` or `DOMAIN\name`.
    pub user: Text,
    /// The password.
    pub password: Text,
}

/// The login, if the driver accepts it. That it is the one that vdo-core logged in with was checked before.
pub(super) fn check(credentials: &Credentials) -> Result<Login, Vec<Finding>> {
    let refuse = |key: &str, what: &str| {
        let version = &credentials.version;
        Finding::hold(
            &reasons::CSI_CREDENTIALS_UNSUITABLE,
            format!("Secret {}/{}, key {key}: {what}; correct it", version.namespace, version.name),
        )
    };
    let text = |key: &str, value: &str| Text::new(value).map_err(|why| refuse(key, &why.to_string()));
    let user = text("username", &credentials.username).and_then(|user| {
        let rule = r"must be name@domain or DOMAIN\name, of letters, digits, '.', '-' and (in the name) '_'";
        if names_a_domain(user.expose()) { Ok(user) } else { Err(refuse("username", rule)) }
    });
    match (user, text("password", credentials.password.expose_secret())) {
        (Ok(user), Ok(password)) => Ok(Login { user, password }),
        (user, password) => Err([user.err(), password.err()].into_iter().flatten().collect()),
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
    use vdo_api::vcenter::SecretVersion;

    fn said(username: &str, password: &str) -> Vec<String> {
        let version = SecretVersion {
            namespace: "vmware-system-vdo".into(),
            name: "vc1".into(),
            uid: "u".into(),
            resource_version: "7".into(),
        };
        let credentials = Credentials {
            version,
            username: username.to_owned(),
            password: password.into(),
            servers: Vec::new(),
        };
        match check(&credentials) {
            Ok(login) => {
                assert_eq!((login.user.expose(), login.password.expose()), (username, password));
                Vec::new()
            }
            Err(findings) => findings.into_iter().map(|finding| finding.message).collect(),
        }
    }

    #[test]
    fn what_the_driver_accepts_is_taken_unchanged() {
        let all: String = (' '..='~').chain(['\t', 'é', '𝄞']).collect();
        for user in ["administrator@vsphere.local", r"VSPHERE.LOCAL\svc_csi-1", "a_b.c@d-e"] {
            assert_eq!(said(user, &all), [""; 0]);
        }
    }

    #[test]
    fn what_the_driver_refuses_names_secret_and_key_and_no_value() {
        for user in [
            "hunter",
            "hunter@a@b",
            "hunter+2@a",
            "@a",
            "hunter@",
            "hunter two@a",
            r"a\b\hunter",
            "hunter@a_b",
        ] {
            let said = said(user, "p");
            assert!(said.len() == 1, "{user}");
            assert!(
                said[0].starts_with(r"Secret vmware-system-vdo/vc1, key username: must be name@domain or ")
            );
            assert!(!said[0].contains("hunter"), "{said:?}");
        }
        assert_eq!(
            said("a@b", "hunter\n2"),
            ["Secret vmware-system-vdo/vc1, key password: has a line break; correct it"]
        );
        assert_eq!(said("a", "b\0").len(), 2, "both keys are reported at once");
    }
}
