//! Is there a peer that we trust? No login, no request.

use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::Presented;
use crate::error::{Error, Phase};
use crate::resolve::look_up;
use crate::target::Target;
use crate::wire::classify;

/// Connects by TCP and TLS, and hangs up without a byte of application data.
///
/// Returns the certificate that was accepted. One that was not comes with [`Error::Untrusted`].
pub async fn probe(target: &Target) -> Result<Presented, Error> {
    let endpoint = &target.endpoint;
    let setup = |source| Error::Setup { endpoint: endpoint.clone(), source };
    let tls = target.trust.client_config().map_err(setup)?;
    let name = ServerName::try_from(endpoint.host().to_string()).map_err(|error| setup(error.into()))?;
    let handshake = async {
        let tcp = connect(target).await?;
        let mut stream = TlsConnector::from(Arc::new(tls))
            .connect(name, tcp)
            .await
            .map_err(|error| classify(endpoint, Box::new(error)))?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let presented = leaf.map(|leaf| Presented::from_der(leaf));
        // A peer that hangs up first has told us what we wanted to know.
        let _ = stream.shutdown().await;
        presented
            .ok_or_else(|| Error::TlsFailed { endpoint: endpoint.clone(), why: "no certificate".to_string() })
    };
    match timeout(target.limits.connect, handshake).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Timeout {
            endpoint: endpoint.clone(),
            phase: Phase::Connect,
            after: target.limits.connect,
        }),
    }
}

/// Tries the addresses of the host in turn.
async fn connect(target: &Target) -> Result<TcpStream, Error> {
    let endpoint = &target.endpoint;
    let addresses = look_up(endpoint.host(), endpoint.port(), target.admits)
        .await
        .map_err(|error| classify(endpoint, Box::new(error)))?;
    let mut last = std::io::Error::from(std::io::ErrorKind::HostUnreachable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(classify(endpoint, Box::new(last)))
}
