//! Shows what the client reads of one vCenter.
//!
//! `cargo run -p vsphere-client --example inventory -- HOST[:PORT] USER PASSWORD-FILE [insecure | THUMBPRINT | CA-FILE] [DATACENTER...]`
//!
//! With `-` for the password file it only looks at the certificate.

use std::error::Error;

use vsphere_client::{
    CaBundle, Client, DatacenterMatch, Endpoint, HostVersions, SecretString, Target, Thumbprint, Trust, probe,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, password_file, rest @ ..] = arguments.as_slice() else {
        return Err("HOST[:PORT] USER PASSWORD-FILE [insecure | THUMBPRINT | CA-FILE] [DATACENTER...]".into());
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse()?),
        _ => (address.as_str(), 443),
    };
    let trust = match rest.first().map(String::as_str) {
        None => Trust::PublicRoots,
        Some("insecure") => Trust::Insecure,
        Some(text) => match Thumbprint::parse(text) {
            Ok(thumbprint) => Trust::Thumbprint(thumbprint),
            Err(_) => Trust::CaBundle(CaBundle::from_pem(&std::fs::read(text)?)?),
        },
    };
    let user_agent = concat!("vsphere-client-example/", env!("CARGO_PKG_VERSION"));
    let target = Target::new(Endpoint::new(host, port)?, trust, user_agent);
    println!("{:#?}", probe(&target).await?);
    if password_file == "-" {
        return Ok(());
    }
    let password = SecretString::from(std::fs::read_to_string(password_file)?.trim_end_matches('\n'));
    let session = Client::connect(target).await?.login(user, &password).await?;
    let outcome = show(&session, rest.get(1..).unwrap_or_default()).await;
    session.logout().await?;
    outcome
}

async fn show(session: &vsphere_client::Session, wanted: &[String]) -> Result<(), Box<dyn Error>> {
    println!("{:#?}\n{:#?}", session.about(), session.fetch_current().await?);
    let datacenters = session.fetch_datacenters().await?;
    println!("{datacenters:#?}");
    for wanted in wanted {
        let DatacenterMatch::One(datacenter) = datacenters.select(wanted) else {
            println!("{wanted}: {:?}", datacenters.select(wanted));
            continue;
        };
        let (vms, hosts) = session.fetch_machines(&[datacenter], HostVersions::Read).await?;
        println!(
            "{wanted}: {} machines in {} pages, {} unreadable",
            vms.rows.len(),
            vms.pages,
            vms.unreadable
        );
        for vm in vms.rows.iter().take(5) {
            println!("{vm:?}");
        }
        println!("{hosts:#?}");
    }
    Ok(())
}
