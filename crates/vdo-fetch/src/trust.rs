//! Whether content is what its author published: a digest that was pinned, or a signature by a known key.
//!
//! Both say nothing about age. A server can hand out an older document with its signature of that time; who
//! cares about that compares a number in the document.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// Why content is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Other content than the pinned one.
    #[error(
        "the document has the SHA-256 digest {found} and not the pinned {expected}: if the new content is \
         meant, pin its digest, else find out who changed it"
    )]
    Digest {
        /// What was pinned.
        expected: Pin,
        /// What the document has.
        found: Pin,
    },
    /// Nothing where the signature has to be.
    #[error(
        "{at} answered with http status {status}, so there is no signature: publish it there, beside the document"
    )]
    Missing {
        /// Where it has to be.
        at: String,
        /// The answer of its server.
        status: u16,
    },
    /// Something else than a signature.
    #[error(
        "the signature is neither the base64 that `cosign sign-blob --key` writes with --output-signature nor \
         the DER of `openssl dgst -sha256 -sign`: {why}"
    )]
    SignatureUnreadable {
        /// What it is instead.
        why: &'static str,
    },
    /// A signature of other content or by another key.
    #[error(
        "the signature does not belong to this document and this public key: sign the document anew, or \
         configure the key that it was signed with"
    )]
    Signature,
}

/// The SHA-256 digest of a document. Read and shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Too long or too short.
    #[error(
        "a pin is the SHA-256 digest as 64 hexadecimal digits, not {characters}: write what sha256sum prints"
    )]
    Length {
        /// How many characters were given.
        characters: usize,
    },
    /// Something else than digits.
    #[error("a pin is 64 hexadecimal digits and nothing else: write what sha256sum prints, without a prefix")]
    Digit,
}

impl Pin {
    /// The digest of some content.
    pub fn of(bytes: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(pin)
    }

    /// Whether content is what was pinned.
    pub fn check(&self, bytes: &[u8]) -> Result<(), TrustError> {
        let found = Self::of(bytes);
        if found == *self { Ok(()) } else { Err(TrustError::Digest { expected: *self, found }) }
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let characters = text.chars().count();
        if characters != 64 {
            return Err(PinError::Length { characters });
        }
        let mut pin = [0; 32];
        for (byte, digits) in pin.iter_mut().zip(text.as_bytes().chunks(2)) {
            let nibble =
                |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = digits else { return Err(PinError::Digit) };
            match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                (None, _) | (_, None) => return Err(PinError::Digit),
            }
        }
        Ok(Self(pin))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands before the point of an uncompressed ECDSA P-256 key: the algorithm `id-ecPublicKey`, the curve
/// `prime256v1`, and a bit string of 66 bytes without unused bits.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The first byte of a point that has both coordinates.
const UNCOMPRESSED: u8 = 4;

/// Object identifiers that an algorithm begins with.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ELLIPTIC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// An ECDSA P-256 public key, as `cosign generate-key-pair` and `openssl ec -pubout` write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    point: [u8; 65],
}

/// Why a text is no public key. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Nothing that begins with `-----BEGIN`.
    #[error("the public key is not in PEM form: give the file that begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A private key.
    #[error(
        "this is a private key, which belongs to nobody but its owner: give the public key (cosign.pub, or what \
         `openssl ec -pubout` writes), and replace the key pair if others could read this"
    )]
    Private,
    /// A certificate.
    #[error(
        "this is a certificate and not a public key: give what `openssl x509 -pubkey -noout` prints of it"
    )]
    Certificate,
    /// A block of another kind.
    #[error("the PEM text holds no public key: give the file that begins with -----BEGIN PUBLIC KEY-----")]
    OtherBlock,
    /// More than one block.
    #[error("the PEM text holds more than one block: give one public key")]
    Several,
    /// An RSA key.
    #[error("this is an RSA key, and only ECDSA P-256 is read: use `cosign generate-key-pair`")]
    Rsa,
    /// ECDSA on another curve, or written in another form.
    #[error(
        "this key is on another curve than P-256, or not in the plain form: use `cosign generate-key-pair`, or \
         `openssl ecparam -name prime256v1 -genkey`"
    )]
    OtherCurve,
    /// Another algorithm.
    #[error("this key is for another algorithm than ECDSA P-256: use `cosign generate-key-pair`")]
    OtherAlgorithm,
    /// Not the content of a public key.
    #[error("the public key cannot be read: copy the file as it is, with its first and last line")]
    Unreadable,
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(pem: &str) -> Result<Self, PublicKeyError> {
        let kinds: Vec<&str> =
            pem.lines().filter_map(|line| line.trim_start().strip_prefix("-----BEGIN ")).collect();
        // First of all, and wherever it stands: somebody has to be told.
        if kinds.iter().any(|kind| kind.contains("PRIVATE KEY")) {
            return Err(PublicKeyError::Private);
        }
        match kinds.as_slice() {
            [] => return Err(PublicKeyError::NotPem),
            [kind] if kind.starts_with("PUBLIC KEY-----") => {}
            [kind] if kind.starts_with("RSA PUBLIC KEY-----") => return Err(PublicKeyError::Rsa),
            [kind] if kind.contains("CERTIFICATE-----") => return Err(PublicKeyError::Certificate),
            [_] => return Err(PublicKeyError::OtherBlock),
            [_, _, ..] => return Err(PublicKeyError::Several),
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
        Self::from_der(&der.map_err(|_| PublicKeyError::Unreadable)?)
    }
}

impl PublicKey {
    fn from_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let point = der.strip_prefix(&P256_PREFIX).and_then(|point| <[u8; 65]>::try_from(point).ok());
        match point {
            Some(point) if point[0] == UNCOMPRESSED => Ok(Self { point }),
            Some(_) | None => Err(other_key(der)),
        }
    }
}

/// Says what a key is that is not ours. It is only told apart, nothing is read from it.
fn other_key(der: &[u8]) -> PublicKeyError {
    // Two sequences open before the algorithm is named; their lengths take one to three bytes each.
    let algorithm =
        |oid: &[u8]| (4..=8).any(|start| der.get(start..).is_some_and(|rest| rest.starts_with(oid)));
    if der.first() != Some(&0x30) {
        PublicKeyError::Unreadable
    } else if algorithm(RSA) {
        PublicKeyError::Rsa
    } else if algorithm(ELLIPTIC) {
        PublicKeyError::OtherCurve
    } else {
        PublicKeyError::OtherAlgorithm
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", Pin::of(&self.point))
    }
}

/// The longest signature in DER: two numbers of 33 bytes, and what goes around them.
const LONGEST_SIGNATURE: usize = 72;
/// What base64 makes of it (96), and some more, so that a stray blank is called one.
const LONGEST_TEXT: usize = 128;

/// Whether `signature` was made over `bytes` by the owner of `key`, with ECDSA P-256 over SHA-256.
///
/// The signature is what `cosign sign-blob --key` writes (base64, with or without a final newline) or what
/// `openssl dgst -sha256 -sign` writes (the bare DER).
pub fn verify(key: &PublicKey, bytes: &[u8], signature: &[u8]) -> Result<(), TrustError> {
    let der = signature_der(signature).map_err(|why| TrustError::SignatureUnreadable { why })?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.point);
    key.verify(bytes, &der).map_err(|_| TrustError::Signature)
}

fn signature_der(signature: &[u8]) -> Result<Vec<u8>, &'static str> {
    // A sequence in DER; no base64 of one begins with this byte.
    if signature.first() == Some(&0x30) {
        return if signature.len() > LONGEST_SIGNATURE {
            Err("it is too long")
        } else {
            Ok(signature.to_vec())
        };
    }
    let text = signature.strip_suffix(b"\n").unwrap_or(signature);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match text {
        [] => Err("it is empty"),
        [b'{', ..] => Err("it is a bundle"),
        [b'-', b'-', ..] => Err("it is a PEM text"),
        _ if text.len() > LONGEST_TEXT => Err("it is too long"),
        _ => {
            let der = STANDARD.decode(text).map_err(|_| "it is not base64 on one line")?;
            let fits = der.first() == Some(&0x30) && der.len() <= LONGEST_SIGNATURE;
            if fits { Ok(der) } else { Err("its base64 holds something else") }
        }
    }
}

#[cfg(test)]
mod tests;
