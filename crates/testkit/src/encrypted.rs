//! An encrypted end (TLS) before a node, as a reverse proxy puts it there, with a certificate of an authority of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::postgres::CERTIFICATES;

/// Takes encrypted lines on a port of its own and hands them on, until it is dropped.
pub struct EncryptedEnd {
    /// Its port on 127.0.0.1; its certificate is for `localhost`.
    pub port: u16,
    /// The certificate (PEM) of the authority that signed its own.
    pub authority: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl EncryptedEnd {
    /// Begins to hand on to `to`.
    pub async fn start(to: SocketAddr) -> EncryptedEnd {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = Command::new("sh").args(["-e", "-c", CERTIFICATES, "sh"]).arg(folder.path()).output();
        let made = made.expect("sh runs");
        assert!(made.status.success(), "openssl, which tests need: {}", String::from_utf8_lossy(&made.stderr));
        let certificate = CertificateDer::from_pem_file(folder.path().join("server.crt")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).expect("its key");
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who does not trust the certificate goes away.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut node) = TcpStream::connect(to).await else { return };
                    _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
                });
            }
        });
        EncryptedEnd { port, authority: folder.path().join("authority.crt"), task, _folder: folder }
    }

    /// Its address, by the name that its certificate is for.
    pub fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for EncryptedEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}
