//! Where a matrix is read from: a file, standard input, or an https address.
//!
//! An address is judged, fetched and checked as vdo-core does it, so that what is said about a matrix here is what an
//! operator would find. That holds for addresses of this machine, too: they are refused, and a file is the way out.

use std::io::stderr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vdo_compat::Source;
use vdo_core::args::LIMITS;
use vdo_core::order::matrix::{Place, check};
use vdo_core::sources::fetch::{SIGNATURE, fetch_once};
use vdo_fetch::{Address, AddressError, Fetcher, Proxy, PublicKey, Roots, Settings};

use crate::args::MatrixTrustArgs;
use crate::progress::Progress;
use crate::proxy::Environment;
use crate::{input, terminal};

/// More than any key, bundle of authorities or signature has.
const LONGEST: u64 = 1024 * 1024;

/// A matrix as it was read.
#[derive(Debug)]
pub struct Document {
    /// The file, or the address without its query.
    pub name: String,
    /// What kind of place that is.
    pub source: Source,
    /// The content.
    pub text: String,
}

/// What is meant by the text that was given.
#[derive(Debug, PartialEq)]
enum Meant {
    File,
    Address(Address),
}

/// What begins as an address does is one, also a wrong one; `./` before it makes a file of it.
fn meant(given: &Path) -> Result<Meant, AddressError> {
    match given.to_str().filter(|text| has_scheme(text)) {
        Some(text) => text.parse().map(Meant::Address),
        None => Ok(Meant::File),
    }
}

fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    // One letter is a drive.
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && rest.starts_with('/')
}

/// Reads a matrix, and checks it as was asked.
pub async fn read(given: &Path, trust: &MatrixTrustArgs, progress: &Progress) -> Result<Document> {
    let key = trust.public_key.as_deref().map(public_key).transpose()?;
    match meant(given).context("cannot use the address of the matrix")? {
        Meant::Address(address) => {
            let name = address.to_string();
            let fetcher = fetcher(trust)?;
            let place = Place { address, pin: trust.sha256, key };
            progress.say(format!("fetching {name}"));
            let fetched = progress.during(terminal::err(), &mut stderr(), fetch_once(&fetcher, &place)).await;
            let bytes = fetched.context("cannot fetch the matrix")?;
            let text = String::from_utf8(bytes).with_context(|| format!("cannot use {name}"))?;
            Ok(Document { name, source: Source::Url, text })
        }
        Meant::File => {
            let name = given.display().to_string();
            let text = input::text(given).with_context(|| format!("cannot read {name}"))?;
            let signature = key.map(|_| signature(given)).transpose()?;
            check(trust.sha256, key.as_ref(), text.as_bytes(), signature.as_deref())
                .with_context(|| format!("cannot trust {name}"))?;
            Ok(Document { name, source: Source::ConfigMap, text })
        }
    }
}

/// The signature beside a file.
fn signature(of: &Path) -> Result<Vec<u8>> {
    if of.as_os_str() == input::STDIN {
        bail!("standard input has no signature beside it: give a file or an https address");
    }
    let mut name = of.as_os_str().to_owned();
    name.push(SIGNATURE);
    read_small(&PathBuf::from(name))
}

fn public_key(file: &Path) -> Result<PublicKey> {
    let text = String::from_utf8_lossy(&read_small(file)?).into_owned();
    text.parse().with_context(|| format!("cannot use {}", file.display()))
}

fn read_small(file: &Path) -> Result<Vec<u8>> {
    input::bytes(file, LONGEST).with_context(|| format!("cannot read {}", file.display()))
}

fn fetcher(trust: &MatrixTrustArgs) -> Result<Fetcher> {
    let roots = match &trust.ca_bundle {
        Some(file) => Roots::with_bundle(&read_small(file)?)
            .with_context(|| format!("cannot use the authorities of {}", file.display()))?,
        None => Roots::public(),
    };
    let said = Environment::read();
    let proxy = Proxy::from_values(&said.https_proxy, &said.no_proxy)?;
    Ok(Fetcher::new(Settings { roots, proxy, limits: LIMITS }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_an_address_does_is_one_and_anything_else_is_a_file() {
        for file in [
            "-",
            "m.json",
            "./https://matrix.example.com/m",
            "/etc/m.json",
            "C:/m.json",
            "a:b.json",
            "https:m",
            "../a b/m",
            "8080:/m",
        ] {
            assert_eq!(meant(Path::new(file)), Ok(Meant::File), "{file}");
        }
        let address = "https://matrix.example.com/m?v=1";
        assert_eq!(meant(Path::new(address)), Ok(Meant::Address(address.parse().unwrap())));
        for (wrong, error) in [
            ("http://matrix.example.com/m", AddressError::NotHttps),
            ("file:///etc/shadow", AddressError::NotHttps),
            ("file:/etc/shadow", AddressError::NotHttps),
            ("s3://bucket/m", AddressError::NotHttps),
            ("https:/matrix.example.com/m", AddressError::Slashes),
            ("https://localhost/m", AddressError::ThisMachine),
        ] {
            assert_eq!(meant(Path::new(wrong)), Err(error), "{wrong}");
        }
    }
}
