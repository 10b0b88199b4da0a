use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::*;

const DOCUMENT: &[u8] = include_bytes!("fixtures/document.json");
/// `openssl ec -in key.pem -pubout`; the key was thrown away.
const OPENSSL_KEY: &str = include_str!("fixtures/openssl.pub");
/// `openssl dgst -sha256 -sign key.pem document.json`.
const OPENSSL_SIGNATURE: &[u8] = include_bytes!("fixtures/openssl.sig");
/// The same in the form of `cosign sign-blob --key key --output-signature`.
const COSIGN_SIGNATURE: &[u8] = include_bytes!("fixtures/cosign.sig");

/// A new key pair: the public half as it is published, and what signs.
fn key_pair() -> (PublicKey, impl Fn(&[u8]) -> Vec<u8>) {
    let pair = KeyPair::generate().unwrap();
    let random = SystemRandom::new();
    let signer =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pair.serialized_der(), &random).unwrap();
    let sign = move |bytes: &[u8]| signer.sign(&random, bytes).unwrap().as_ref().to_vec();
    (pair.public_key_pem().parse().unwrap(), sign)
}

#[test]
fn what_the_real_openssl_signed_is_trusted_in_both_forms() {
    let key: PublicKey = OPENSSL_KEY.parse().unwrap();
    let newline = [COSIGN_SIGNATURE, b"\n"].concat();
    let windows = [COSIGN_SIGNATURE, b"\r\n"].concat();
    for signature in [OPENSSL_SIGNATURE, COSIGN_SIGNATURE, &newline, &windows] {
        assert_eq!(verify(&key, DOCUMENT, signature), Ok(()));
        assert_eq!(verify(&key, &DOCUMENT[1..], signature), Err(TrustError::Signature));
    }
}

#[test]
fn a_signature_belongs_to_one_document_and_one_key() {
    let (key, sign) = key_pair();
    let (other, other_sign) = key_pair();
    for document in [&b""[..], b"a", DOCUMENT, &[0; 1 << 20]] {
        let signature = sign(document);
        let text = format!("{}\n", STANDARD.encode(&signature));
        for signature in [signature.as_slice(), text.as_bytes()] {
            assert_eq!(verify(&key, document, signature), Ok(()));
            assert_eq!(verify(&other, document, signature), Err(TrustError::Signature));
            let longer = [document, b" "].concat();
            assert_eq!(verify(&key, &longer, signature), Err(TrustError::Signature));
        }
        assert_eq!(verify(&key, document, &other_sign(document)), Err(TrustError::Signature));
    }
}

#[test]
fn a_signature_with_one_bit_turned_is_worth_nothing() {
    let (key, sign) = key_pair();
    let signature = sign(DOCUMENT);
    for bit in 0..signature.len() * 8 {
        let mut turned = signature.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&key, DOCUMENT, &turned).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_no_signature_is_told_apart() {
    let (key, sign) = key_pair();
    let text = STANDARD.encode(sign(DOCUMENT));
    for (signature, reason) in [
        (String::new(), "it is empty"),
        ("\n".into(), "it is empty"),
        ("{\"base64Signature\":\"MEUC\"}".into(), "it is a bundle"),
        ("-----BEGIN SIGNATURE-----".into(), "it is a PEM text"),
        (format!("{text}\n\n"), "it is not base64"),
        (format!(" {text}"), "it is not base64"),
        (format!("{}\n{}", &text[..40], &text[40..]), "it is not base64"),
        (text[..text.len() - 5].to_owned(), "it is not base64"),
        (text.replace('M', "_"), "it is not base64"),
        (STANDARD.encode(DOCUMENT), "holds something else"),
        (STANDARD.encode([0x30; 100]), "it is too long"),
        ("0".repeat(LONGEST_SIGNATURE + 1), "it is too long"),
        ("a".repeat(5_000_000), "it is too long"),
    ] {
        let error = verify(&key, DOCUMENT, signature.as_bytes()).unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, TrustError::SignatureUnreadable { .. }), "{shown}");
        assert!(shown.contains(reason) && shown.contains("cosign sign-blob"), "{shown}");
    }
    // Zeros for both numbers, which a careless verification accepts.
    let zeros = [0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00];
    assert_eq!(verify(&key, DOCUMENT, &zeros), Err(TrustError::Signature));
    let trailing = [sign(DOCUMENT), vec![0]].concat();
    assert!(verify(&key, DOCUMENT, &trailing).is_err());
}

#[test]
fn a_key_is_read_with_text_around_it_and_any_line_ends() {
    let key: PublicKey = OPENSSL_KEY.parse().unwrap();
    for text in [
        OPENSSL_KEY.replace('\n', "\r\n"),
        OPENSSL_KEY.trim_end().to_owned(),
        format!("# the key of the release team\n\n{OPENSSL_KEY}\n"),
    ] {
        assert_eq!(text.parse(), Ok(key), "{text}");
    }
}

#[test]
fn what_is_no_public_key_is_told_apart_and_not_repeated() {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    let private = pair.serialize_pem();
    let block = |kind: &str| format!("-----BEGIN {kind}-----\nc2VjcmV0\n-----END {kind}-----\n");
    let mut cut: Vec<&str> = OPENSSL_KEY.lines().collect();
    cut.remove(1);
    use PublicKeyError::*;
    for (text, expected, reason) in [
        (String::new(), NotPem, "begins with -----BEGIN PUBLIC KEY-----"),
        ("c2VjcmV0".into(), NotPem, "not in PEM form"),
        (STANDARD.encode(OPENSSL_KEY), NotPem, "not in PEM form"),
        ("cosign.pub".into(), NotPem, "not in PEM form"),
        (certificate.clone(), Certificate, "openssl x509 -pubkey"),
        (block("TRUSTED CERTIFICATE"), Certificate, "openssl x509 -pubkey"),
        (private.clone(), Private, "replace the key pair"),
        (block("EC PRIVATE KEY"), Private, "give the public key"),
        (block("RSA PRIVATE KEY"), Private, "give the public key"),
        (block("ENCRYPTED PRIVATE KEY"), Private, "give the public key"),
        (block("ENCRYPTED SIGSTORE PRIVATE KEY"), Private, "give the public key"),
        (block("ENCRYPTED COSIGN PRIVATE KEY"), Private, "give the public key"),
        (block("OPENSSH PRIVATE KEY"), Private, "give the public key"),
        (format!("{}{}", block("EC PARAMETERS"), block("EC PRIVATE KEY")), Private, "give the public key"),
        (format!("{OPENSSL_KEY}{private}"), Private, "give the public key"),
        (block("EC PARAMETERS"), OtherBlock, "holds no public key"),
        (block("PGP PUBLIC KEY BLOCK"), OtherBlock, "holds no public key"),
        (block("CERTIFICATE REQUEST"), OtherBlock, "holds no public key"),
        (format!("{OPENSSL_KEY}{OPENSSL_KEY}"), Several, "more than one block"),
        (format!("{certificate}{OPENSSL_KEY}"), Several, "more than one block"),
        (include_str!("fixtures/rsa.pub").into(), Rsa, "this is an RSA key"),
        (include_str!("fixtures/rsa-pkcs1.pub").into(), Rsa, "this is an RSA key"),
        (include_str!("fixtures/p384.pub").into(), OtherCurve, "another curve than P-256"),
        (include_str!("fixtures/compressed.pub").into(), OtherCurve, "not in the plain form"),
        (include_str!("fixtures/explicit.pub").into(), OtherCurve, "not in the plain form"),
        (include_str!("fixtures/ed25519.pub").into(), OtherAlgorithm, "another algorithm"),
        (block("PUBLIC KEY"), Unreadable, "cannot be read"),
        (OPENSSL_KEY.replace("-----END PUBLIC KEY-----", ""), Unreadable, "first and last line"),
        (OPENSSL_KEY.replace("MFkw", "MF!w"), Unreadable, "cannot be read"),
        (cut.join("\n"), Unreadable, "cannot be read"),
    ] {
        let error = text.parse::<PublicKey>().expect_err(&text);
        let shown = error.to_string();
        assert_eq!(error, expected, "{text}");
        assert!(shown.contains(reason), "{shown}");
        let said = format!("{shown} {error:?}");
        assert!(
            text.lines()
                .filter(|line| line.len() > 7)
                .all(|line| line.starts_with("-----") || !said.contains(line))
        );
    }
}

#[test]
fn a_key_is_its_fixed_prefix_and_a_whole_point() {
    let key: PublicKey = OPENSSL_KEY.parse().unwrap();
    let der = [&P256_PREFIX[..], &key.point].concat();
    assert_eq!(PublicKey::from_der(&der), Ok(key));
    for index in 0..=P256_PREFIX.len() {
        let mut turned = der.clone();
        turned[index] ^= 1;
        assert!(PublicKey::from_der(&turned).is_err(), "byte {index}");
    }
    assert!(PublicKey::from_der(&der[..der.len() - 1]).is_err());
    assert!(PublicKey::from_der(&[der.as_slice(), &[0]].concat()).is_err());
    // A point that is not on the curve verifies nothing.
    let nowhere = PublicKey { point: [UNCOMPRESSED; 65] };
    assert_eq!(verify(&nowhere, DOCUMENT, OPENSSL_SIGNATURE), Err(TrustError::Signature));
}

#[test]
fn a_pin_is_64_digits_and_holds_for_one_content() {
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let pin: Pin = text.parse().unwrap();
    assert_eq!((Pin::of(b"abc"), pin.to_string().as_str()), (pin, text));
    assert_eq!(text.to_uppercase().parse(), Ok(pin));
    assert_eq!(pin.check(b"abc"), Ok(()));
    let error = pin.check(b"abd").unwrap_err();
    assert_eq!(error, TrustError::Digest { expected: pin, found: Pin::of(b"abd") });
    let shown = error.to_string();
    assert!(shown.contains(text) && shown.contains(&Pin::of(b"abd").to_string()), "{shown}");
}

#[test]
fn what_is_no_pin_is_told_apart() {
    let text = Pin::of(b"abc").to_string();
    for (given, error) in [
        (String::new(), PinError::Length { characters: 0 }),
        (text[1..].to_owned(), PinError::Length { characters: 63 }),
        (format!("{text}\n"), PinError::Length { characters: 65 }),
        (format!("sha256:{text}"), PinError::Length { characters: 71 }),
        (text.replace('b', "g"), PinError::Digit),
        (format!("+{}", &text[1..]), PinError::Digit),
        (format!("{}é", &text[1..]), PinError::Digit),
        ("é".repeat(64), PinError::Digit),
    ] {
        assert_eq!(given.parse::<Pin>(), Err(error), "{given:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_no_signature_comes_by_chance(
        text in any::<String>(),
        der in prop::collection::vec(any::<u8>(), 0..120),
        signature in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let _ = text.parse::<Pin>();
        let block = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
        prop_assert!(text.parse::<PublicKey>().is_err() && block.parse::<PublicKey>().is_err());
        let key: PublicKey = OPENSSL_KEY.parse().unwrap();
        prop_assert!(verify(&key, DOCUMENT, &signature).is_err());
        prop_assert!(verify(&key, DOCUMENT, STANDARD.encode(&signature).as_bytes()).is_err());
    }
}
