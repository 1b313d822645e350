//! TLS with a certificate that nobody verifies, for programs that authenticate *inside* TLS.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// Returns the configuration of a server with a new self-signed certificate, and of a client that
/// accepts any certificate.
///
/// Both use TLS 1.3 only. With TLS 1.2 the exported bytes belong to one connection only under the
/// extended master secret (RFC 7627) and without renegotiation. rustls never renegotiates, but
/// requires the extended master secret only if `require_ems` is set in both configurations.
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

/// A verifier that accepts every certificate, and so everybody who terminates TLS.
///
/// This is safe *only* below a handshake that is bound to the TLS connection. TLS then encrypts the
/// connection, and the handshake proves to both ends who is at the other end of it: a man in the
/// middle is detected before the application sends anything. Without the handshake, or without
/// the binding, this verifier gives everything to the first man in the middle.
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
        Err(rustls::Error::General(
            "TLS 1.2 is not supported".to_owned(),
        ))
    }

    /// Accepts every signature. A right one would prove that the peer has the key of a certificate
    /// that says nothing about the peer.
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
