//! Plain HTTP, asked by hand: what the operators and etcd answer inside a bed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The port of the operators' probes and metrics.
const OPERATOR: u16 = 8080;

/// The body of an answer, to be read. Fails unless the answer is 200.
pub fn request(
    place: (&str, u16),
    head: &str,
    body: &str,
    patience: Duration,
) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(place).with_context(|| format!("connect to {place:?}"))?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "{head} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}", place.0, body.len())?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    ensure!(status.contains(" 200 "), "{head}: {status}");
    let mut line = status;
    while line.trim() != "" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "{head}: half an answer");
    }
    Ok(reader)
}

/// What the operator with this address answers.
pub fn ask_operator(address: &str, path: &str, patience: Duration) -> Result<String> {
    let mut answer = String::new();
    request((address, OPERATOR), &format!("GET {path}"), "", patience)?.read_to_string(&mut answer)?;
    Ok(answer)
}
