//! Requests of the node to others: HTTP/1.1, encrypted unless they stay on the machine. Nobody is followed elsewhere.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use hyper::Uri;
use hyper::http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto};

use crate::config::is_safe_address;

/// A way to another program on which bytes go both ways.
pub(crate) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// Where a request goes: a line to there, the value of the header `Host`, and what is asked for.
pub(crate) struct Opened {
    pub(crate) line: Box<dyn Line>,
    pub(crate) host: String,
    pub(crate) path: String,
}

/// Connects to the machine of an address; why that does not work, in words. With `authorities`, their certificates (PEM)
/// are trusted instead of those that the system trusts.
pub(crate) async fn open(address: &str, authorities: Option<&Path>) -> Result<Opened, String> {
    let (uri, authority) = checked(address)?;
    let encrypted = uri.scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    let line: Box<dyn Line> = if encrypted {
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        Box::new(TlsConnector::from(tls(authorities)?).connect(name, stream).await.map_err(in_words)?)
    } else {
        Box::new(stream)
    };
    Ok(Opened { line, host: authority.to_string(), path })
}

/// Why no encrypted line came about, with what to do where it is the certificate.
fn in_words(error: std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is signed by an authority that this node does not trust: name the certificates of that authority \
             (`ca_file`), or let the system trust it"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "its certificate is for another name: use the name that it is for".to_owned(),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired: renew it there".to_owned(),
        _ => error.to_string(),
    }
}

/// An address that is encrypted or stays on the machine, and its host and port; why it is none, in words.
pub(crate) fn checked(address: &str) -> Result<(Uri, Authority), String> {
    let uri: Uri = address.parse().map_err(|error| format!("{address} is no address: {error}"))?;
    match uri.authority().cloned() {
        Some(authority) if is_safe_address(address) => Ok((uri, authority)),
        _ => Err(format!("{address} is no address that is encrypted")),
    }
}

fn tls(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    if let Some(path) = authorities {
        let cannot =
            |error: &dyn std::fmt::Display| format!("cannot read the certificates {}: {error}", path.display());
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| cannot(&error))? {
            let certificate = certificate.map_err(|error| cannot(&error))?;
            trusted.add(certificate).map_err(|error| cannot(&error))?;
        }
        if trusted.is_empty() {
            return Err(cannot(&"there is none in it"));
        }
        return config_with(trusted);
    }
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut trusted = RootCertStore::empty();
    // Single certificates that this library cannot read are no reason not to use the others.
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let made = config_with(trusted)?;
    Ok(CONFIG.get_or_init(|| made).clone())
}

fn config_with(trusted: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(trusted).with_no_client_auth()))
}
