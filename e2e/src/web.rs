//! A web server of a test, over TLS, that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testbed::pki::Authority;

/// How long a client that says nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// A document that says it is packed.
    Packed,
    /// Nothing, ever.
    Silence,
}

/// A server, ended with the test.
pub struct Web {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who signed its certificate (PEM).
    pub authority: String,
    answers: Arc<Mutex<Vec<(String, Answer)>>>,
    asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
        let answers = Arc::<Mutex<Vec<(String, Answer)>>>::default();
        let (asked, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (answers, asked, ends, config) =
                (answers.clone(), asked.clone(), ends.clone(), Arc::new(config));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (answers, asked, config) = (answers.clone(), asked.clone(), config.clone());
                    let ends = ends.clone();
                    // A client that leaves in the middle is what some tests are about.
                    std::thread::spawn(move || drop(serve(stream, config, &answers, &asked, &ends)));
                }
            })
        };
        Ok(Web { address, authority: authority.pem, answers, asked, ends, thread: Some(thread) })
    }

    /// Answers a path so from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(of, _)| of != path);
        answers.push((path.to_owned(), answer));
    }

    /// How often anything was asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // The thread waits for the next connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answers: &Mutex<Vec<(String, Answer)>>,
    asked: &AtomicUsize,
    ends: &AtomicBool,
) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let (path, known) = request(&mut stream)?;
    asked.fetch_add(1, Ordering::AcqRel);
    let answer = {
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().find(|(of, _)| *of == path).map(|(_, answer)| answer.clone())
    };
    match answer.unwrap_or(Answer::Status(404)) {
        Answer::Document { etag, .. } if known.as_deref() == Some(&format!("\"{etag}\"")) => {
            write!(stream, "HTTP/1.1 304 Not Modified\r\netag: \"{etag}\"\r\n\r\n")?;
        }
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
        Answer::Packed => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx")?;
        }
        Answer::Trickle => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
            while !ends.load(Ordering::Acquire) {
                stream.write_all(b" ")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            while !ends.load(Ordering::Acquire) {
                stream.write_all(&[b' '; 4096])?;
            }
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
