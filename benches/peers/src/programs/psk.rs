use std::net::TcpStream;

use openssl::ssl::{Ssl, SslContext, SslMethod};

fn main() {
    let mut context = SslContext::builder(SslMethod::tls()).unwrap();
    context.set_psk_client_callback(|_, _, identity, secret| {
        identity[..2].copy_from_slice(b"a\0");
        secret[..32].copy_from_slice(b"what both ends of this one share");
        Ok(32)
    });
    let ssl = Ssl::new(&context.build()).unwrap();
    let stream = TcpStream::connect("127.0.0.1:7000").unwrap();
    ssl.connect(stream).unwrap();
}
