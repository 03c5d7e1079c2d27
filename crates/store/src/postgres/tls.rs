//! Encrypted connections, with certificates verified unless the configuration says otherwise.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Encryption, PostgresConfig};
use crate::error::StoreError;

pub(super) fn connector(config: &PostgresConfig, encryption: Encryption) -> Result<MakeRustlsConnect, StoreError> {
    let wrong = |reason: String| StoreError::CannotConnect { connection: config.to_string(), reason, source: None };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(format!("TLS cannot be used: {error}")))?;
    let client = match encryption {
        Encryption::VerifyFull => builder.with_root_certificates(authorities(config, wrong)?).with_no_client_auth(),
        _ => builder.dangerous().with_custom_certificate_verifier(Arc::new(Believing(provider))).with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(client))
}

fn authorities(config: &PostgresConfig, wrong: impl Fn(String) -> StoreError) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    match &config.authorities {
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                wrong(format!("the certificates in {} (`ca_file`) cannot be read: {error}", path.display()))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                store.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if store.is_empty() {
                return Err(unreadable(&"there are none in it"));
            }
        }
        None => {
            // Single certificates that this library cannot read are no reason not to use the others.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(wrong("this system trusts no authority: name one with `ca_file`".to_owned()));
            }
        }
    }
    Ok(store)
}

/// Takes whatever certificate the server shows: the connection is encrypted, and nobody knows with whom.
#[derive(Debug)]
struct Believing(Arc<CryptoProvider>);

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
