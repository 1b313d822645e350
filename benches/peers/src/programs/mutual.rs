use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn main() {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file("authority.pem").unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file("own.pem").unwrap()];
    let key = PrivateKeyDer::from_pem_file("own.key").unwrap();
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let name = "peer".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect("127.0.0.1:7000").unwrap();
    connection.complete_io(&mut stream).unwrap();
}
