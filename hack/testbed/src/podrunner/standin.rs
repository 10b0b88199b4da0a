//! Stand-ins for programs that cannot be built or cannot run in a bed.
//!
//! | Image | Why there is a stand-in |
//! |---|---|
//! | csi-attacher, csi-provisioner, csi-resizer, csi-snapshotter, livenessprobe, csi-node-driver-registrar | not available as Go modules in the versions that the CSI releases name |
//! | the CSI driver in node mode | reads VMware's DMI tables |
//!
//! A stand-in stays alive and ends with 0 at SIGTERM. With `--csi-address` (or `ADDRESS` in its environment, or the
//! default of the real sidecars) livenessprobe serves `/healthz` on `--health-port`, and answers 200 only while something
//! accepts connections on the CSI socket. A driver in node mode listens on the socket of `CSI_ENDPOINT`. The registrar's
//! `--mode=kubelet-registration-probe` succeeds.
//!
//! It never talks to the API server: no lease, no CSINode, no volume comes from a stand-in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

/// What a stand-in was told, by flags and environment.
#[derive(Debug, PartialEq, Eq)]
struct Orders {
    name: String,
    /// Where livenessprobe serves.
    health_port: Option<u16>,
    /// The socket of the driver beside it.
    csi_address: PathBuf,
    /// The socket that a driver itself listens on.
    endpoint: Option<PathBuf>,
    registration_probe: bool,
}

impl Orders {
    fn read(arguments: &[String], variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let (name, rest) = arguments.split_first().context("no name for the stand-in")?;
        let flag = |wanted: &str| {
            let spelled = |at: usize, argument: &String| {
                let argument = argument.trim_start_matches('-');
                match argument.strip_prefix(wanted)? {
                    "" => rest.get(at + 1).cloned(),
                    value => value.strip_prefix('=').map(str::to_owned),
                }
            };
            rest.iter().enumerate().find_map(|(at, argument)| spelled(at, argument))
        };
        let port = flag("health-port").map(|port| port.parse().context("--health-port")).transpose()?;
        let address = flag("csi-address").or_else(|| variable("ADDRESS"));
        let address = address.unwrap_or_else(|| "/run/csi/socket".to_owned());
        let drives = name.contains("driver") && !name.contains("registrar");
        let endpoint = variable("CSI_ENDPOINT").filter(|_| drives);
        Ok(Self {
            // The real livenessprobe serves 9808 unless told otherwise.
            health_port: port.or_else(|| (name == "livenessprobe").then_some(9808)),
            csi_address: address.trim_start_matches("unix://").into(),
            endpoint: endpoint.map(|endpoint| endpoint.trim_start_matches("unix://").into()),
            registration_probe: flag("mode").as_deref() == Some("kubelet-registration-probe"),
            name: name.clone(),
        })
    }
}

/// `stand-in NAME [flags of the real program]`
#[allow(clippy::disallowed_methods, reason = "takes the place of a program that reads its environment")]
pub(super) async fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let orders = Orders::read(arguments, |name| std::env::var(name).ok())?;
    if orders.registration_probe {
        return Ok(ExitCode::SUCCESS);
    }
    let mut stop = signal(SignalKind::terminate())?;
    println!("stand-in for {}", orders.name);
    let listener = match orders.health_port {
        Some(port) => {
            Some(TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("listen on {port}"))?)
        }
        None => None,
    };
    let socket = match &orders.endpoint {
        Some(path) => {
            let _ = std::fs::remove_file(path); // left over from the run before
            Some(UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?)
        }
        None => None,
    };
    tokio::select! {
        _ = stop.recv() => Ok(ExitCode::SUCCESS),
        () = serve(listener, &orders.csi_address) => Ok(ExitCode::SUCCESS),
        () = accept(socket) => Ok(ExitCode::SUCCESS),
    }
}

async fn serve(listener: Option<TcpListener>, csi_address: &Path) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // A caller that goes away is no concern of ours.
            let _ = tokio::time::timeout(Duration::from_secs(5), answer(stream, csi_address)).await;
        }
    }
}

async fn accept(socket: Option<UnixListener>) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        // Accepting is the whole service.
        let _ = socket.accept().await;
    }
}

async fn answer(mut stream: TcpStream, csi_address: &Path) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 16_384 {
        match stream.read(&mut part).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    let path = String::from_utf8_lossy(&head).split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (status, body) = match (path.as_str(), UnixStream::connect(csi_address).await) {
        ("/healthz", Ok(_)) => ("200 OK", "ok".to_owned()),
        ("/healthz", Err(fault)) => {
            ("500 Internal Server Error", format!("{}: {fault}", csi_address.display()))
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(line: &str, env: &[(&str, &str)]) -> Orders {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let env: std::collections::BTreeMap<_, _> = env.iter().copied().collect();
        Orders::read(&words, |name| env.get(name).map(|value| (*value).to_owned())).unwrap()
    }

    #[test]
    fn flags_are_read_in_both_spellings() {
        let told = orders("livenessprobe --v=4 --csi-address=/csi/csi.sock --health-port 9909", &[]);
        assert_eq!((told.health_port, told.csi_address.as_path()), (Some(9909), Path::new("/csi/csi.sock")));
    }

    #[test]
    fn a_probe_without_flags_serves_where_the_real_one_does() {
        let told =
            orders("livenessprobe", &[("ADDRESS", "unix:///csi/csi.sock"), ("CSI_ENDPOINT", "unix:///x")]);
        assert_eq!((told.health_port, told.csi_address.as_path()), (Some(9808), Path::new("/csi/csi.sock")));
        assert_eq!(told.endpoint, None);
        assert_eq!(orders("csi-attacher", &[]).health_port, None);
    }

    #[test]
    fn a_driver_listens_on_its_own_socket() {
        let told = orders("driver --fss-name=x", &[("CSI_ENDPOINT", "unix:///csi/csi.sock")]);
        assert_eq!(told.endpoint.as_deref(), Some(Path::new("/csi/csi.sock")));
    }
}
