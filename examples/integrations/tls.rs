//! TLS with a certificate that nobody verifies, for what authenticates *inside* it.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// A server with a self-signed certificate of its own, and a client that takes any.
///
/// TLS 1.3 alone is spoken. With TLS 1.2 what the exporter gives belongs to one connection only
/// under the extended master secret (RFC 7627) and without renegotiation: rustls never
/// renegotiates, but insists on the former only where `require_ems` is set in both
/// configurations.
pub fn configurations()
-> Result<(Arc<ServerConfig>, Arc<ClientConfig>), Box<dyn std::error::Error + Send + Sync>> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let private_key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![cert.into()], private_key.into())?;
    let client = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Ok((server.into(), client.into()))
}

/// Accepts every certificate, and so everybody who ends TLS.
///
/// Fine here and *only* here: what TLS is to do is to hide what is said and to keep it whole
/// between the two ends of one connection. Who is at the other end is proved by the handshake on
/// top, to both of them, and since that is bound to this very connection, whoever ends TLS in
/// between is found out before the application has said a word. Without the binding, or without
/// the handshake, this verifier gives everything away to the first man in the middle.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    /// Not looked at either: it would prove that the peer has the key of a certificate that says
    /// nothing about it.
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
