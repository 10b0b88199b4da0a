//! A web server of a test, over TLS, that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::{Compress, Compression, FlushCompress};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testbed::pki::Authority;

/// How long a client that says nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many MiB a bomb unpacks to.
const UNPACKED: usize = 512;

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The document with this mark; 304 to those who have it.
    Document {
        /// What is in it.
        bytes: Vec<u8>,
        /// Its ETag, without quotation marks.
        etag: String,
    },
    /// Only this status.
    Status(u16),
    /// A redirect.
    Redirect(String),
    /// The head, and then one byte each second.
    Trickle,
    /// Bytes without end.
    Endless,
    /// The same under this announced length.
    Announced(u64),
    /// A packed document.
    Packed {
        /// How, in the words of the header.
        encoding: &'static str,
        /// The bytes that are sent.
        bytes: Vec<u8>,
    },
    /// Another one of these documents for each request, from the first one on.
    InTurn(Vec<Vec<u8>>),
    /// Nothing, ever.
    Silence,
}

/// A server, ended with the test.
pub struct Web {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who signed its certificate (PEM).
    pub authority: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<Vec<(String, Answer)>>,
    asked: AtomicUsize,
    resets: AtomicBool,
    ends: AtomicBool,
}

impl Web {
    /// Listens at this address, with a certificate for it.
    pub fn start(address: SocketAddr) -> Result<Web> {
        let authority = Authority::new("web-of-a-test")?;
        let pair = authority.sign("web", None, &[address.ip().to_string()])?;
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind(address).with_context(|| format!("{address} is not free"))?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let thread = {
            let (shared, config) = (shared.clone(), Arc::new(config));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.ends() {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (shared, config) = (shared.clone(), config.clone());
                    // A client that leaves in the middle is what some tests are about.
                    std::thread::spawn(move || drop(serve(stream, config, &shared)));
                }
            })
        };
        Ok(Web { address, authority: authority.pem, shared, thread: Some(thread) })
    }

    /// Answers a path so from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        let mut answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(of, _)| of != path);
        answers.push((path.to_owned(), answer));
    }

    /// Resets every connection from now on, or no longer.
    pub fn reset(&self, resets: bool) {
        self.shared.resets.store(resets, Ordering::Release);
    }

    /// How often anything was asked for.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Acquire)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        // The thread waits for the next connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// What is answered at this path.
    fn next(&self, path: &str) -> Answer {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.iter_mut().find(|(of, _)| of == path) {
            Some((_, Answer::InTurn(documents))) => {
                let bytes = documents.first().cloned().unwrap_or_default();
                documents.rotate_left(1);
                Answer::Document { bytes, etag: self.asked.load(Ordering::Acquire).to_string() }
            }
            Some((_, answer)) => answer.clone(),
            None => Answer::Status(404),
        }
    }
}

/// A text of half a gigabyte, packed: less than what is read of a document that is plain. `encoding` is `gzip` or `deflate`.
pub fn bomb(encoding: &'static str) -> Answer {
    let zeros = vec![0; 1 << 20];
    let mut part = Vec::with_capacity(1 << 16);
    // All that was said is forgotten at its end, so that it can be said again.
    Compress::new(Compression::best(), false)
        .compress_vec(&zeros, &mut part, FlushCompress::Full)
        .expect("zeros can be packed");
    let head: &[u8] = match encoding {
        "gzip" => b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        _ => &[],
    };
    Answer::Packed { encoding, bytes: [head, &part.repeat(UNPACKED)].concat() }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    if shared.resets.load(Ordering::Acquire) {
        // What is closed with something unread is reset.
        stream.peek(&mut [0])?;
        return Ok(());
    }
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let (path, known) = request(&mut stream)?;
    shared.asked.fetch_add(1, Ordering::AcqRel);
    match shared.next(&path) {
        Answer::Document { etag, .. } if known.as_deref() == Some(&format!("\"{etag}\"")) => {
            write!(stream, "HTTP/1.1 304 Not Modified\r\netag: \"{etag}\"\r\n\r\n")?;
        }
        Answer::InTurn(_) => anyhow::bail!("one of them was taken"),
        Answer::Document { bytes, etag } => {
            let length = bytes.len();
            write!(stream, "HTTP/1.1 200 OK\r\netag: \"{etag}\"\r\ncontent-length: {length}\r\n\r\n")?;
            stream.write_all(&bytes)?;
        }
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status} As Told\r\ncontent-length: 0\r\n\r\n")?;
        }
        Answer::Redirect(to) => {
            write!(stream, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")?;
        }
        Answer::Packed { encoding, bytes } => {
            let length = bytes.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {length}\r\n\r\n"
            )?;
            stream.write_all(&bytes)?;
        }
        Answer::Trickle => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
            while !shared.ends() {
                stream.write_all(b" ")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            flood(&mut stream, shared)?;
        }
        Answer::Announced(length) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
            flood(&mut stream, shared)?;
        }
        Answer::Silence => {
            // Until the client goes.
            drop(stream.read(&mut [0]));
        }
    }
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// Sends until the client goes.
fn flood(stream: &mut impl Write, shared: &Shared) -> Result<()> {
    while !shared.ends() {
        stream.write_all(&[b' '; 4096])?;
    }
    Ok(())
}

/// The path that is asked for, and the mark of what the client has.
fn request(stream: &mut impl Read) -> Result<(String, Option<String>)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().context("no request")??;
    let path = first.split(' ').nth(1).context("no path")?.to_owned();
    let mut known = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("if-none-match")
        {
            known = Some(value.trim().to_owned());
        }
    }
    Ok((path, known))
}

#[cfg(test)]
mod tests {
    use flate2::read::{DeflateDecoder, GzDecoder};

    use super::*;

    #[test]
    fn a_bomb_is_short_and_unpacks_to_far_more_than_is_read_of_a_document() {
        for encoding in ["gzip", "deflate"] {
            let Answer::Packed { bytes, .. } = bomb(encoding) else { panic!("{encoding}") };
            assert!(bytes.len() < 1 << 20, "{encoding}: {}", bytes.len());
            let unpacked: Box<dyn Read> = match encoding {
                "gzip" => Box::new(GzDecoder::new(&bytes[..])),
                _ => Box::new(DeflateDecoder::new(&bytes[..])),
            };
            let sixteen = 16 << 20;
            assert_eq!(std::io::copy(&mut unpacked.take(sixteen), &mut std::io::sink()).unwrap(), sixteen);
        }
    }
}
