//! TLS 1.3 with a certificate at either end, with rustls.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::{CipherSuite, NamedGroup, RootCertStore};

use super::{Candidates, Outbox, Side, Sides, candidate};

pub fn candidates(told: bool) -> Candidates {
    let mut candidates = Vec::new();
    for (library, provider) in [
        ("aws-lc-rs", aws_lc_rs::default_provider()),
        ("ring", ring::default_provider()),
    ] {
        for (signature, algorithm) in [
            ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("Ed25519", &rcgen::PKCS_ED25519),
        ] {
            for (exchange, group) in [
                ("P-256", NamedGroup::secp256r1),
                ("X25519", NamedGroup::X25519),
            ] {
                let name = format!("{library}, {signature} certificates, {exchange} exchange");
                let peer = Mutual::new(provider.clone(), algorithm, group, told);
                candidates.push(candidate(name, peer));
            }
        }
    }
    candidates
}

/// Returns the configurations of both ends, also for [`records`](crate::records).
pub fn configs(
    mut provider: CryptoProvider,
    algorithm: &'static rcgen::SignatureAlgorithm,
    group: NamedGroup,
) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>)> {
    provider
        .kx_groups
        .retain(|candidate| candidate.name() == group);
    (provider.cipher_suites).retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);

    let authority = authority(algorithm)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let roots = Arc::new(roots);

    let (chain, key) = certificate(&authority, algorithm)?;
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)?;
    client.resumption = Resumption::disabled();
    client.enable_sni = false;

    let (chain, key) = certificate(&authority, algorithm)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.send_tls13_tickets = 0;
    Ok((Arc::new(client), Arc::new(server)))
}

const NAME: &str = "peer";

pub fn name() -> Result<ServerName<'static>> {
    Ok(ServerName::try_from(NAME)?)
}

fn authority(
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(vec![])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate_for(algorithm)?;
    Ok(CertifiedIssuer::self_signed(params, key)?)
}

fn certificate(
    authority: &CertifiedIssuer<'static, KeyPair>,
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = KeyPair::generate_for(algorithm)?;
    let params = CertificateParams::new(vec![NAME.to_owned()])?;
    let certificate = params.signed_by(&key, authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow!(error))?;
    Ok((vec![certificate.der().clone()], key))
}

struct Mutual {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
    told: bool,
}

impl Mutual {
    fn new(
        provider: CryptoProvider,
        algorithm: &'static rcgen::SignatureAlgorithm,
        group: NamedGroup,
        told: bool,
    ) -> Result<Self> {
        let (client, server) = configs(provider, algorithm, group)?;
        Ok(Self {
            client,
            server,
            name: name()?,
            told,
        })
    }
}

impl Sides for Mutual {
    type Client = Client;
    type Server = Server;

    fn client(&self) -> Result<Client> {
        let connection = ClientConnection::new(self.client.clone(), self.name.clone())?;
        Ok(Client(connection, self.told))
    }

    fn server(&self) -> Result<Server> {
        Ok(Server(
            ServerConnection::new(self.server.clone())?,
            self.told,
        ))
    }
}

struct Client(ClientConnection, bool);

impl Side for Client {
    fn step(&mut self, mut received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        let Self(connection, told) = self;
        while !received.is_empty() {
            connection.read_tls(&mut received)?;
            connection.process_new_packets()?;
        }
        while connection.wants_write() {
            connection.write_tls(to_send)?;
        }
        if connection.is_handshaking() {
            return Ok(false);
        }
        if !*told {
            return Ok(true);
        }
        match connection.reader().read(&mut [0]) {
            Ok(1) => Ok(true),
            Ok(_) => bail!("closed before the client was told"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("the byte that tells the client"),
        }
    }
}

struct Server(ServerConnection, bool);

impl Side for Server {
    fn step(&mut self, mut received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        let Self(connection, told) = self;
        while !received.is_empty() {
            connection.read_tls(&mut received)?;
            connection.process_new_packets()?;
        }
        let succeeded = !connection.is_handshaking();
        if succeeded && *told {
            connection.writer().write_all(&[1])?;
        }
        while connection.wants_write() {
            connection.write_tls(to_send)?;
        }
        Ok(succeeded)
    }
}
